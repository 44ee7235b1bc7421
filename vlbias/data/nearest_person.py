"""Which annotated person stands nearest to each object of a photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["PERSON", "nearest_groups"]

PERSON = "person"


def nearest_groups(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The group of the person nearest to each boxed object, one entry a class.

    Distance is that between the edges of two boxes, 0 where they overlap; of equally near persons it is the one
    whose centre is nearer. Of several boxes of a class the pair that is nearest counts. A class whose nearest
    person has no group is left out: the next person is not the nearest.

    Args:
        objects: Entries of the `objects` column; persons may have a "group".

    Returns:
        Entries {"class": …, "group": …}, sorted by class.
    """
    persons = [one for one in objects if one["class"] == PERSON and not one["crowd"]]
    if not any(one.get("group") for one in persons):
        return []
    found = []
    for name in sorted({one["class"] for one in objects} - {PERSON}):
        boxes = [one for one in objects if one["class"] == name]
        nearest = min(persons, key=lambda person: min(_distance(person, box) for box in boxes))
        if nearest.get("group"):
            found.append({"class": name, "group": nearest["group"]})
    return found


def _distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[float, float]:
    """Squared distances of the edges and of the centres, px²."""
    edges = [max(a[f"{x}0"] - b[f"{x}1"], b[f"{x}0"] - a[f"{x}1"], 0.0) for x in "xy"]
    centres = [(a[f"{x}0"] + a[f"{x}1"] - b[f"{x}0"] - b[f"{x}1"]) / 2 for x in "xy"]
    return edges[0] ** 2 + edges[1] ** 2, centres[0] ** 2 + centres[1] ** 2
