"""Regions that a study names beside the person boxes: heads, faces, masks, one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vlbias.causal.example import Example
from vlbias.causal.region import Region
from vlbias.data.coco_regions import head_regions, mask_regions
from vlbias.data.faces import FACE_DETECTORS, face_detector, face_regions
from vlbias.data.regions import (
    RegionBox,
    given_regions,
    person_regions,
    placebo_regions,
    with_person_regions,
    with_regions,
)
from vlbias.data.schema import checked
from vlbias.data.text_files import read_json
from vlbias.errors import BadData, BadStudy
from vlbias.studies.photos.study import PhotoStudy

__all__ = ["carrying_regions", "read_regions", "refuse_regions"]

Regions = Mapping[str, Region]


def refuse_regions(study: PhotoStudy) -> None:
    """Refuses worlds whose region nobody gives, files that are missing, and unknown detectors.

    Raises:
        BadStudy: names the field.
        MissingExtra: if a detector's library is not installed.
    """
    for name, world in study.worlds_needing_regions.items():
        if world.region not in ("person", *study.regions):
            raise BadStudy(
                f"worlds.{name}.region",
                world.region,
                f"a region of the study: write [regions] and {world.region} = … ("
                f"given: {', '.join(study.regions) or 'none'})",
            )
    for name, source in study.regions.items():
        if name == "face":
            if source not in FACE_DETECTORS:
                raise BadStudy("regions.face", source, f"one of {', '.join(FACE_DETECTORS)}")
            face_detector(source)
        elif not Path(source).is_file():
            raise BadStudy(f"regions.{name}", source, "a file that exists, relative to the study")


def read_regions(
    study: PhotoStudy, examples: Sequence[Example], note: Callable[[str], None] = lambda text: None
) -> dict[str, Regions]:
    """Name to the region of each example, for all that the study gives.

    Raises:
        BadData: if a file lacks a photo, or a region lies outside one.
    """
    readers: dict[str, Callable[[str], Regions]] = {
        "head": lambda file: head_regions(Path(file), examples),
        "person-mask": lambda file: mask_regions(Path(file), examples),
        "face": lambda detector: face_regions(examples, detector),  # type: ignore[arg-type]
        "own": lambda file: _own(Path(file), examples),
    }
    found: dict[str, Regions] = {}
    for name, source in study.regions.items():
        note(f"looking for the region {name}")
        found[name] = readers[name](source)
        with_regions(examples, found[name])  # refuses what lies outside a photo
    return found


def _own(file: Path, examples: Sequence[Example]) -> Regions:
    content = read_json(file, "give a JSON file of photo ids to lists of boxes")
    if not isinstance(content, Mapping):
        raise BadData(
            f"{file}: expected JSON of photo ids to lists of boxes, [left, top, right, bottom] in pixels"
        )
    boxes = checked(dict[str, list[RegionBox]], content, str(file))
    sizes = {example.id: example.targets["size"] for example in examples}
    for name in sizes.keys() & boxes.keys():
        for box in boxes[name]:
            if max(box) <= 1.0 < min(sizes[name]):
                raise BadData(
                    f"{file}: box {list(box)} of {name!r} lies in the first pixel: are these shares of width "
                    "and height? Boxes must be in pixels of the photo as it is shown"
                )
    try:
        return given_regions("own", boxes)
    except BadData as error:
        raise BadData(f"{file}: {error}") from error


def carrying_regions(
    examples: Sequence[Example], regions: Mapping[str, Regions], *, seed: int
) -> list[Example]:
    """The examples with every region and its placebo, as mitigations in the encoder want them."""
    carrying = with_person_regions(examples, seed=seed)
    persons = person_regions(examples)
    for known in regions.values():
        placebos = placebo_regions(examples, known, avoid=[persons], seed=seed)
        carrying = with_regions(carrying, known, placebos)
    return carrying
