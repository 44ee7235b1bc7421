"""The picture of one photo in every world: as it is, or with regions filled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vlbias.causal.example import Picture
from vlbias.causal.region import Box, Region
from vlbias.data.fill import FillRegion
from vlbias.data.placebo_regions import PlaceboRegion, placebo_boxes, placebo_region
from vlbias.data.world import World, WorldAbsent

__all__ = ["PhotoPictures", "seed_of"]

_WEAK_BLUR = 0.005  # standard deviation over the photo's height: 2.4 px of 480


def seed_of(seed: int, name: str) -> int:
    """A seed for what has this name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")


class PhotoPictures:
    """The pictures of one photo; equal pictures of several worlds are the same object.

    Args:
        row: The photo's row of the data set.
        path: Its file.
        regions: Name to region, for worlds that fill another one than the person boxes.
        seed: Chooses placebo regions, together with the photo's id.
    """

    def __init__(
        self, row: Mapping[Any, Any], path: Path, regions: Mapping[str, Region], seed: int
    ) -> None:
        self.row, self.path, self.regions, self.seed = row, path, regions, seed
        self.size = (int(row["width"]), int(row["height"]))
        self.persons = _boxes(o for o in row["objects"] if o["class"] == "person")
        self.placebo: PlaceboRegion | None = None
        self._pictures: dict[tuple[str, str, float, str, bool] | None, Picture] = {}

    def picture(self, world: World) -> Picture:
        """The photo in a world.

        Raises:
            WorldAbsent: if it cannot be made; says why.
        """
        change = world.image_change
        if change not in self._pictures:
            edits = (self._edit(world),) if change else ()
            self._pictures[change] = Picture(self.path, edits)
        return self._pictures[change]

    def _edit(self, world: World) -> FillRegion:
        if world.image == "background":
            return self._background(world)
        if world.image == "object":
            return self._one_object(world)
        region = self._filled_region(world)
        keep = Region("objects", self._others()) if world.keep_objects else None
        return FillRegion(
            region.boxes,
            world.fill,
            world.strength,
            height=region.height,
            mask=region.mask,
            keep=keep,
        )

    def _others(self) -> tuple[Box, ...]:
        """The boxes of objects that are no persons."""
        return _boxes(o for o in self.row["objects"] if o["class"] != "person")

    def _background(self, world: World) -> FillRegion:
        width, height = map(float, self.size)
        return FillRegion(
            ((0.0, 0.0, width, height),),
            "blur",
            world.strength,
            blur_per_height=_WEAK_BLUR,
            height=height,
            keep=Region("person", self.persons),
        )

    def _one_object(self, world: World) -> FillRegion:
        boxes = self._others()
        if not boxes:
            raise WorldAbsent("no object but persons in the image")
        chosen = boxes[seed_of(self.seed, f"object of {self.row['id']}") % len(boxes)]
        return FillRegion(
            (chosen,), world.fill, world.strength, keep=Region("person", self.persons)
        )

    def _filled_region(self, world: World) -> Region:
        """The region that a world fills."""
        region = Region("person", self.persons)
        if world.region != "person":
            if world.region not in self.regions:
                raise WorldAbsent(f"no region {world.region} was given")
            region = self.regions[world.region]
        if region.is_empty:
            raise WorldAbsent(
                f"no {'person box' if region.name == 'person' else region.name} in the image"
            )
        if world.image == "mask-gender":
            return region
        seed = seed_of(self.seed, self.row["id"])
        if world.region != "person":
            placebo = placebo_region(region, self.size, seed, self.persons)
            if placebo.absent:
                raise WorldAbsent(f"image placebo: {placebo.absent}")
            return placebo
        if self.placebo is None:
            self.placebo = placebo_boxes(self.persons, self.size, seed)
        if self.placebo.boxes is None:
            raise WorldAbsent(f"image placebo: {self.placebo.how}")
        return Region("placebo", self.placebo.boxes, height=self.placebo.height)


def _boxes(objects: Iterable[Mapping[str, Any]]) -> tuple[Box, ...]:
    """The boxes of objects that have an area."""
    boxes = ((o["x0"], o["y0"], o["x1"], o["y1"]) for o in objects)
    return tuple(box for box in boxes if box[2] > box[0] and box[3] > box[1])
