"""Examples in several worlds: photo and text as they are, and as interventions leave them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlbias.causal.example import Example, Inputs, Picture
from vlbias.causal.region import Box, Region, mask_of
from vlbias.data.fill import FillRegion
from vlbias.data.labels import GenderRule, agreeing_captions
from vlbias.data.lexicon import changed_words, neutralise, placebo, swap
from vlbias.data.placebo_regions import PlaceboRegion, placebo_boxes, placebo_region
from vlbias.data.prompts import Prompt, prompt_named, set_word
from vlbias.data.table import SPLITS, Dataset
from vlbias.data.world import WORLDS, World, channels_changed
from vlbias.errors import BadData, BadStudy, UnknownName

__all__ = ["WORLDS", "World", "channels_changed", "make_examples"]

_WEAK_BLUR = 0.005  # standard deviation over the photo's height: 2.4 px of 480


class _Absent(Exception):
    """A channel that cannot be made for this photo; the message is the reason."""


def make_examples(
    dataset: Dataset,
    worlds: Mapping[str, World],
    prompt: str | Prompt = "template",
    *,
    splits: Sequence[str] = SPLITS,
    groups: Sequence[str] = ("masculine", "feminine"),
    seed: int = 0,
    limit: int | None = None,
    regions: Sequence[Mapping[str, Region]] = (),
) -> list[Example]:
    """One example per photo of the asked splits and groups, sorted by id.

    Inputs that are equal between worlds are the same objects. A world that cannot be made for a
    photo is in `Example.absent` with the reason and not in `Example.worlds`.

    Args:
        dataset: The table.
        worlds: Name to world; see `WORLDS`.
        prompt: Name of a prompt, or a prompt with words of its own.
        splits: Of "fit", "dev" and "test".
        groups: Values of the group column.
        seed: Chooses placebo regions, together with each id, and what `limit` keeps.
        limit: Keep a random choice of this many photos; a smaller one is part of a larger.
        regions: Id to region, for worlds that fill another one than the person boxes.

    Returns:
        Examples with targets "present" (frozenset of class names), "objects" and "size", and with
        attributes "group", "split", "masked_share", "words_changed", "placebo_how",
        "placebo_overlap" and "agreeing_captions".

    Raises:
        UnknownName: for a split or prompt that is not there.
        BadData: if a group has no photo in the splits; names the groups there are.
    """
    chosen = prompt_named(prompt) if isinstance(prompt, str) else prompt
    frame = _select(dataset.frame, splits, groups)
    if limit is not None:
        if limit < 1:
            raise BadStudy("limit", limit, "1 or more")
        order = frame["id"].map(lambda name: _seed_of(seed, name)).sort_values().index
        frame = frame.loc[order[:limit]].sort_values("id")
    texts: dict[str, Any] = {}
    return [
        _Maker(row, dataset, chosen, seed, texts, regions).example(worlds)
        for row in map(dict, frame.to_dict("records"))
    ]


def _select(frame: pd.DataFrame, splits: Sequence[str], groups: Sequence[str]) -> pd.DataFrame:
    for split in splits:
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
    frame = frame[frame["split"].isin(list(splits))]
    there = frame["group"].value_counts().to_dict()
    empty = [group for group in groups if not there.get(group)]
    if empty or not groups:
        counted = ", ".join(f"{group!r} {count}" for group, count in there.items())
        raise BadData(
            f"no photo of group {', '.join(map(repr, empty)) or '(none given)'} in splits "
            f"{', '.join(splits)}; groups there: {counted or 'none'}. Set dataset.groups to some of "
            "those, or take other splits or a label rule that keeps more"
        )
    return frame[frame["group"].isin(list(groups))]


def _seed_of(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")


class _Maker:
    """The worlds of one photo; keeps what several of them share."""

    def __init__(
        self,
        row: Mapping[Any, Any],
        dataset: Dataset,
        prompt: Prompt,
        seed: int,
        texts: dict[str, Any],
        regions: Sequence[Mapping[str, Region]],
    ) -> None:
        self.row, self.dataset, self.prompt, self.seed = row, dataset, prompt, seed
        self.size = (int(row["width"]), int(row["height"]))
        self.persons: tuple[Box, ...] = tuple(
            (o["x0"], o["y0"], o["x1"], o["y1"])
            for o in row["objects"]
            if o["class"] == "person" and o["x1"] > o["x0"] and o["y1"] > o["y0"]
        )
        found = [known[row["id"]] for known in regions if row["id"] in known]
        self.regions = {region.name: region for region in found}
        self.path = dataset.image_root / row["image"]
        self.pictures: dict[tuple[str, str, float, str, bool] | None, Picture] = {}
        self.texts = texts  # frame to filled text, shared by all photos
        self.region: PlaceboRegion | None = None
        frame = prompt.frame(row["captions"])
        self.raw_frame = frame
        self.frame = set_word(frame, "{person}", prompt.word(row["group"]))
        self.neutral = neutralise(set_word(frame, "{person}", prompt.neutral))

    def example(self, worlds: Mapping[str, World]) -> Example:
        made: dict[str, Inputs] = {}
        absent: dict[str, str] = {}
        for name, world in worlds.items():
            try:
                made[name] = {"image": self.picture(world), "text": self.text(world)}
            except _Absent as reason:
                absent[name] = str(reason)
        objects = tuple(
            (o["class"], o["x0"], o["y0"], o["x1"], o["y1"], o["crowd"])
            for o in self.row["objects"]
        )
        present = frozenset(self.row["present"])
        return Example(
            id=self.row["id"],
            cluster=self.row["cluster"],
            worlds=made,
            targets={"present": present, "objects": objects, "size": self.size},
            attributes=self.attributes(),
            absent=absent,
        )

    def attributes(self) -> dict[str, str]:
        mask = mask_of(self.persons, self.size)
        region = self.region
        return {
            "group": self.row["group"],
            "split": self.row["split"],
            "masked_share": f"{mask.mean():.4f}",
            "words_changed": str(self.words_changed()),
            "placebo_how": region.how if region else "",
            "placebo_overlap": f"{region.overlap:.4f}" if region else "",
            "agreeing_captions": self.agreeing_captions(),
        }

    def agreeing_captions(self) -> str:
        """How many captions gave the label; empty where no caption rule did."""
        rule = self.dataset.meta.get("rule", {})
        if "min_captions" not in rule:
            return ""
        return str(agreeing_captions(self.row["captions"], GenderRule(**rule)))

    def words_changed(self) -> int:
        """How many words replace-gender changes; the larger number where it changes their count."""
        group, neutral = self.prompt.word(self.row["group"]), self.prompt.neutral
        lengths = len(group.split()), len(neutral.split())
        if lengths[0] == lengths[1] or "{person}" not in self.raw_frame:
            return changed_words(self.frame, self.neutral)
        rest = changed_words(self.raw_frame, neutralise(self.raw_frame))
        return rest + max(lengths) * self.raw_frame.count("{person}")

    def picture(self, world: World) -> Picture:
        change = world.image_change
        if change not in self.pictures:
            edits = (self.edit(world),) if change else ()
            self.pictures[change] = Picture(self.path, edits)
        return self.pictures[change]

    def edit(self, world: World) -> FillRegion:
        if world.image == "background":
            return self.background(world)
        if world.image == "object":
            return self.one_object(world)
        region = self.placed(world)
        keep = Region("objects", self.others()) if world.keep_objects else None
        return FillRegion(
            region.boxes,
            world.fill,
            world.strength,
            height=region.height,
            mask=region.mask,
            keep=keep,
        )

    def others(self) -> tuple[Box, ...]:
        """The boxes of objects that are no persons."""
        others = [o for o in self.row["objects"] if o["class"] != "person"]
        boxes = tuple((o["x0"], o["y0"], o["x1"], o["y1"]) for o in others)
        return tuple(box for box in boxes if box[2] > box[0] and box[3] > box[1])

    def background(self, world: World) -> FillRegion:
        width, height = map(float, self.size)
        return FillRegion(
            ((0.0, 0.0, width, height),),
            "blur",
            world.strength,
            blur_per_height=_WEAK_BLUR,
            height=height,
            keep=Region("person", self.persons),
        )

    def one_object(self, world: World) -> FillRegion:
        boxes = self.others()
        if not boxes:
            raise _Absent("no object but persons in the image")
        chosen = boxes[_seed_of(self.seed, f"object of {self.row['id']}") % len(boxes)]
        return FillRegion(
            (chosen,), world.fill, world.strength, keep=Region("person", self.persons)
        )

    def placed(self, world: World) -> Region:
        """The region that a world fills."""
        region = Region("person", self.persons)
        if world.region != "person":
            if world.region not in self.regions:
                raise _Absent(f"no region {world.region} was given")
            region = self.regions[world.region]
        if region.is_empty:
            raise _Absent(
                f"no {'person box' if region.name == 'person' else region.name} in the image"
            )
        if world.image == "mask-gender":
            return region
        seed = _seed_of(self.seed, self.row["id"])
        if world.region != "person":
            placebo = placebo_region(region, self.size, seed, self.persons)
            if placebo.absent:
                raise _Absent(f"image placebo: {placebo.absent}")
            return placebo
        if self.region is None:
            self.region = placebo_boxes(self.persons, self.size, seed)
        if self.region.boxes is None:
            raise _Absent(f"image placebo: {self.region.how}")
        return Region("placebo", self.region.boxes, height=self.region.height)

    def text(self, world: World) -> str | tuple[str, ...]:
        frame = self.rewritten(world)
        if frame not in self.texts:
            self.texts[frame] = self.prompt.fill(frame, self.dataset.classes)
        return self.texts[frame]  # type: ignore[no-any-return]

    def rewritten(self, world: World) -> str:
        if world.text is None:
            return self.frame
        if world.text == "replace-gender":
            return self.neutral
        if world.text == "swap-gender":
            return self.swapped()
        n = self.words_changed()
        text = placebo(self.frame, n)
        if text is None:
            raise _Absent(f"text placebo: fewer than {n} words with a near-synonym")
        return text

    def swapped(self) -> str:
        words = self.prompt.words
        if "{person}" not in self.raw_frame:
            return swap(self.raw_frame)
        others = [word for group, word in words.items() if group != self.row["group"]]
        if len(words) != 2 or len(others) != 1:
            raise _Absent(f"swap-gender needs two groups with words, there are {sorted(words)}")
        return set_word(swap(self.raw_frame), "{person}", others[0])
