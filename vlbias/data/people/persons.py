"""From annotated persons to a data set: votes to labels, one group a photo, intersections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from vlbias.causal.image_file import frame_of
from vlbias.data.nearest_person import PERSON
from vlbias.data.photo_rows import boxed
from vlbias.data.table import Dataset, make_dataset, split_of_name
from vlbias.errors import BadData, BadStudy, UnknownName

__all__ = ["HARMFUL", "Layout", "Person", "Several", "attributes_of", "majority", "people_dataset"]

HARMFUL = ("animal", "gorilla", "chimpanzee", "orangutan", "thief", "criminal", "suspicious person")
"""Classes that no photo of these sets shows (Radford et al. 2021, section 7.1): asked for where a set names no
object of its own."""

Several = Literal["alike", "one", "largest"]
"""Photos with several persons: kept where all are alike, only where there is one, or by the largest."""


@dataclass(frozen=True)
class Person:
    """One person as a data set describes them.

    Args:
        photo: File, relative to the folder of photos.
        attributes: Perceived attribute to value; "unsure" where annotators do not agree.
        xyxy: Box in pixels of the photo, or None.
        shares: Whether the box is in shares of width and height.
        classes: Classes that are present with this person.
        split: "fit", "dev" or "test"; by the photo's name if empty.
    """

    photo: str
    attributes: Mapping[str, str]
    xyxy: tuple[float, float, float, float] | None = None
    shares: bool = False
    classes: Sequence[str] = ()
    split: str = ""


@dataclass(frozen=True)
class Layout:
    """What a reader says of its data set.

    Args:
        name: Of the reader.
        source: The paper or site.
        terms: What it allows and forbids, for the manifest.
        classes: Those that the set names, in their order; `HARMFUL` if it names none.
        meta: Further entries of the data set's `meta`.
    """

    name: str
    source: str
    terms: str
    classes: Sequence[str] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def majority(votes: Mapping[str, float], *, least: float = 0.5) -> str:
    """The value that more than a share of all votes name; "unsure" where none does.

    Args:
        votes: Value to number of annotators.
        least: The share that has to be exceeded.
    """
    total = sum(votes.values())
    best = max(votes, key=votes.__getitem__, default="")
    return best if total and votes[best] / total > least else "unsure"


def attributes_of(group: str) -> list[str]:
    """The attributes that a group crosses: "gender × skin" or "gender x skin"."""
    return [part.strip() for part in group.replace(" x ", "×").split("×")]


def people_dataset(
    persons: Iterable[Person],
    layout: Layout,
    *,
    image_root: Path,
    group: str,
    several: Several = "alike",
    images_anywhere: bool = False,
) -> Dataset:
    """The data set of annotated persons, one row a photo.

    Args:
        persons: All that are annotated.
        layout: Of the data set.
        image_root: Folder of the photos.
        group: An attribute, or several joined by "×": their values are joined likewise.
        several: What is done with photos of several persons; others get the group "several".
        images_anywhere: Whether paths of photos may leave that folder.

    Raises:
        UnknownName: if no person has such an attribute.
        BadStudy: for another way with several persons.
        BadData: if there is no person, or a box is wrong.
    """
    if several not in get_args(Several):
        raise BadStudy(
            "dataset.several",
            several,
            f"{layout.name} has no boxes of objects: {get_args(Several)}",
        )
    photos: dict[str, list[Person]] = {}
    for person in persons:
        photos.setdefault(person.photo, []).append(person)
    if not photos:
        raise BadData(f"no annotated person found for {layout.name}; check the path")
    known = {name for people in photos.values() for one in people for name in one.attributes}
    for name in attributes_of(group):
        if name not in known:
            raise UnknownName(f"attribute of {layout.name} (dataset.group)", name, sorted(known))
    rows = [
        _row(name, people, layout, image_root, group, several) for name, people in photos.items()
    ]
    counts = Counter(row["group"] for row in rows)
    dropped = {"several persons": counts["several"]} if counts["several"] else {}
    found = [c for c in layout.classes or HARMFUL if c != PERSON]
    meta = {
        "reader": layout.name,
        "recipe": "1",
        "source": layout.source,
        "rule": {
            "name": "given",
            "by": f"annotators of {layout.name}, {group}; several: {several}",
        },
        "funnel": {
            "steps": {"photos": len(rows), "one group": len(rows) - counts["several"]},
            "groups": dict(sorted(counts.items())),
            "dropped": dropped,
        },
        "split_rule": "of the data set, or SHA-256 of the photo's name % 5: 0 test, 1 dev, else fit",
        "terms": layout.terms,
        **layout.meta,
    }
    return make_dataset(
        rows,
        image_root=image_root,
        classes=[PERSON, *found],
        meta=meta,
        images_anywhere=images_anywhere,
    )


def _row(
    name: str, people: Sequence[Person], layout: Layout, root: Path, group: str, several: Several
) -> dict[str, Any]:
    size = frame_of(root / name).size
    objects = [
        boxed(PERSON, _pixels(one, size), photo=name, size=size) for one in people if one.xyxy
    ]
    classes = {c for one in people for c in one.classes}
    return {
        "id": f"{layout.name}/{name}",
        "cluster": f"{layout.name}/{name}",
        "image": name,
        "width": size[0],
        "height": size[1],
        "captions": [],
        "objects": objects,
        "present": sorted({PERSON, *classes}),
        "group": _group(people, attributes_of(group), several, size),
        "split": people[0].split or split_of_name(name),
        "licence": "",  # what may not be passed on has none, and stays out of pages
        "source": layout.source,
    }


def _pixels(person: Person, size: tuple[int, int]) -> tuple[float, ...]:
    assert person.xyxy is not None
    if not person.shares:
        return person.xyxy
    if not all(0 <= side <= 1 for side in person.xyxy):
        raise BadData(
            f"{person.photo}: box {person.xyxy}, expected shares of width and height, 0 to 1"
        )
    return tuple(side * size[i % 2] for i, side in enumerate(person.xyxy))


def _group(
    people: Sequence[Person], names: Sequence[str], several: Several, size: tuple[int, int]
) -> str:
    values = [" × ".join(one.attributes.get(name, "unsure") for name in names) for one in people]
    if several == "one":
        return values[0] if len(people) == 1 else "several"
    if several == "largest":
        areas = [_area(one, size) for one in people]
        return values[areas.index(max(areas))]
    return values[0] if len(set(values)) == 1 else "several"


def _area(person: Person, size: tuple[int, int]) -> float:
    if person.xyxy is None:
        return 0.0
    x0, y0, x1, y1 = _pixels(person, size)
    return (x1 - x0) * (y1 - y0)
