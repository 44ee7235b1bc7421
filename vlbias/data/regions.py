"""Where gender is visible in photos, and attaching it to their pictures; no gender classifier anywhere.

Regions come from annotations (boxes here, masks and keypoints in `coco_regions`), from a face detector
(`faces`), or from the user. A mitigation reads them from the picture by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator

from vlbias.causal.example import Example, Picture
from vlbias.causal.region import Box, Region
from vlbias.data.placebo_regions import placebo_region
from vlbias.data.schema import Finite
from vlbias.errors import BadData

__all__ = [
    "RegionBox",
    "boxes_of",
    "given_regions",
    "lacking",
    "object_regions",
    "person_regions",
    "placebo_regions",
    "with_person_regions",
    "with_regions",
]


def _corners(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError("expected [left, top, right, bottom] in pixels")
    return value


RegionBox = Annotated[tuple[Finite, Finite, Finite, Finite], BeforeValidator(_corners)]
"""A box as it stands in a file of regions."""
Regions = Mapping[str, Region]
"""Id of an example to its region."""


def person_regions(examples: Sequence[Example]) -> dict[str, Region]:
    """The person boxes of each example, crowds too."""
    return {e.id: Region("person", boxes_of(e, person=True)) for e in examples}


def object_regions(examples: Sequence[Example]) -> dict[str, Region]:
    """The boxes of everything annotated that is no person: what an intervention may spare."""
    return {e.id: Region("objects", boxes_of(e, person=False)) for e in examples}


def boxes_of(example: Example, *, person: bool) -> tuple[Box, ...]:
    """The annotated boxes of persons, or of everything else, that are not empty."""
    return tuple(
        (o[1], o[2], o[3], o[4])
        for o in example.targets["objects"]
        if (o[0] == "person") == person and o[3] > o[1] and o[4] > o[2]
    )


def given_regions(name: str, boxes: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Region]:
    """Regions from boxes that the user gives.

    Args:
        name: What the region is called, for example "face".
        boxes: Id of an example to its boxes, xyxy in pixels of the file; an empty list says that
            nothing is there.

    Raises:
        BadData: if a box is empty or not finite.
    """
    return {
        number: Region(
            name, tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in listed)
        )
        for number, listed in boxes.items()
    }


def placebo_regions(
    examples: Sequence[Example],
    regions: Regions,
    *,
    avoid: Sequence[Regions] = (),
    seed: int = 0,
) -> dict[str, Region]:
    """Regions of equal area and, where it fits, of equal shape elsewhere, named "placebo-…".

    Args:
        examples: Their "size" is that of the photos.
        regions: What the placebos are of.
        avoid: What they must not touch beside: persons, where the regions are heads; the objects.
        seed: Chooses the places, together with each id.

    Raises:
        BadData: if a region lies outside its photo.
    """
    found = {}
    for example in examples:
        away = [box for others in avoid for box in others[example.id].boxes]
        number = hashlib.sha256(f"{seed}:{example.id}".encode()).digest()[:8]
        found[example.id] = placebo_region(
            regions[example.id], example.targets["size"], int.from_bytes(number, "big"), away
        )
    return found


def with_regions(examples: Sequence[Example], *regions: Regions) -> list[Example]:
    """The examples, the picture of each of their worlds carrying the regions.

    Raises:
        BadData: if an example has no entry, or a region lies outside its photo; names the photo.
    """
    return [
        _attached(example, [_region_of(example, named) for named in regions])
        for example in examples
    ]


def _region_of(example: Example, named: Regions) -> Region:
    if example.id not in named:
        raise BadData(
            f"{example.id} has no entry among the regions; an empty one says: nothing there"
        )
    region = named[example.id]
    if "size" in example.targets:
        try:
            region.pixels(example.targets["size"])
        except BadData as error:
            raise BadData(f"{example.id}: {error}") from error
    return region


def _attached(example: Example, new: Sequence[Region]) -> Example:
    fresh = {region.name for region in new}
    worlds = {}
    for name, inputs in example.worlds.items():
        picture: Picture = inputs["image"]
        kept = tuple(region for region in picture.regions if region.name not in fresh)
        worlds[name] = {**inputs, "image": replace(picture, regions=(*kept, *new))}
    return replace(example, worlds=worlds)


def with_person_regions(examples: Sequence[Example], *, seed: int = 0) -> list[Example]:
    """The examples with what every table gives: "person", "objects" and "placebo-person"."""
    persons = person_regions(examples)
    placebos = placebo_regions(examples, persons, seed=seed)
    return with_regions(examples, persons, object_regions(examples), placebos)


def lacking(examples: Sequence[Example], name: str) -> dict[str, str]:
    """Ids of the examples in which a mitigation cannot use a region, and why.

    A photo in which the region was looked for and not found is none of them: there is nothing to be
    changed in it.
    """
    reasons = {}
    for example in examples:
        for inputs in example.worlds.values():
            known = {region.name: region for region in inputs["image"].regions}
            if name not in known:
                reasons[example.id] = f"no region {name!r} is known"
            elif known[name].absent:
                reasons[example.id] = known[name].absent
    return reasons
