"""From what a reader found about each photo to labelled rows, and the funnel of the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vlbias.data.gender_labels import Funnel, GenderRule, has_gender_word, perceived_gender
from vlbias.errors import BadData

__all__ = ["Photo", "boxed", "labelled_rows"]

_OUTSIDE = 2.0  # px that a box may reach out of the image: rounding in annotation tools


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo as its annotation files describe it.

    Args:
        id: Unique and stable, for example "coco-val2017/139".
        image: File, relative to the image root.
        width: Of the file, in px.
        height: Of the file, in px.
        captions: In their fixed order.
        objects: Dictionaries as in the `objects` column; see `boxed`.
        split: "fit", "dev" or "test".
        licence: Name of the photo's licence, or empty.
        source: Where the photo comes from.
        original_area_ratio: Area of the original image over that of the file.
    """

    id: str
    image: str
    width: int
    height: int
    captions: Sequence[str]
    objects: Sequence[Mapping[str, Any]]
    split: str
    licence: str = ""
    source: str = ""
    original_area_ratio: float = field(default=1.0)


def boxed(
    name: str,
    xyxy: Sequence[float],
    *,
    photo: str,
    size: tuple[int, int],
    crowd: bool = False,
    area: float | None = None,
) -> dict[str, Any]:
    """An entry of the `objects` column, its box clipped to the image.

    Args:
        name: Class.
        xyxy: Pixels of the file.
        photo: For the error message.
        size: Width and height of the file.
        crowd: Whether the box marks a crowd.
        area: Annotated area in px² of the file; the box's own where None.

    Raises:
        BadData: if the box is not finite, turned round, or more than 2 px out of the image.
    """
    x0, y0, x1, y1 = map(float, xyxy)
    width, height = size
    finite = all(map(math.isfinite, (x0, y0, x1, y1)))
    if not finite or x1 < x0 or y1 < y0:
        raise BadData(
            f"{photo}: box {tuple(xyxy)} of {name!r}, expected finite x0 <= x1, y0 <= y1 "
            "(corners in pixels, not x, y, width, height)"
        )
    if min(x0, y0) < -_OUTSIDE or x1 > width + _OUTSIDE or y1 > height + _OUTSIDE:
        raise BadData(
            f"{photo}: box {(x0, y0, x1, y1)} of {name!r} lies outside the image of "
            f"{width} x {height} px; boxes must be in pixels of the photo's own size"
        )
    x0, x1 = (min(max(x, 0.0), float(width)) for x in (x0, x1))
    y0, y1 = (min(max(y, 0.0), float(height)) for y in (y0, y1))
    own = (x1 - x0) * (y1 - y0)
    sides = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    return {
        "class": name, **sides, "crowd": crowd, "area": own if area is None else float(area),
    }  # fmt: skip


def labelled_rows(
    photos: Iterable[Photo], rule: GenderRule, *, people_only: bool = True
) -> tuple[list[dict[str, Any]], Funnel]:
    """The rows of the table, with perceived gender, and the funnel.

    Photos that fail the rule stay as rows with group "mixed" or "unknown", so that what was left
    out can be studied; photos without a person are dropped unless `people_only` is False.

    Raises:
        BadData: if a photo has no caption left for the label after the held-out ones.
    """
    steps = dict.fromkeys(("images", "with person", "gender word", "not mixed", "kept"), 0)
    groups = {"masculine": 0, "feminine": 0}
    dropped: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for photo in photos:
        steps["images"] += 1
        persons = [o for o in photo.objects if o["class"] == "person"]
        if not persons:
            dropped["no person"] += 1
            if not people_only:
                rows.append(_row(photo, "unknown"))
            continue
        if len(photo.captions) <= rule.held_out:
            raise BadData(
                f"{photo.id}: {len(photo.captions)} captions, expected more than the "
                f"{rule.held_out} that rule {rule.name!r} holds out"
            )
        group, why = _group(photo, persons, rule)
        rows.append(_row(photo, group))
        steps["with person"] += 1
        gendered = has_gender_word(photo.captions, rule)
        steps["gender word"] += gendered
        steps["not mixed"] += gendered and group != "mixed"
        if group in groups:
            steps["kept"] += 1
            groups[group] += 1
        else:
            dropped[why] += 1
    return rows, Funnel(steps, groups, dict(dropped))


def _group(photo: Photo, persons: Sequence[Mapping[str, Any]], rule: GenderRule) -> tuple[str, str]:
    """The group, and why the photo is not kept where it is none of the two."""
    group = perceived_gender(photo.captions, rule)
    if group == "mixed":
        return group, "mixed"
    if group == "unknown":
        if not has_gender_word(photo.captions, rule):
            return group, "no gender word"
        if perceived_gender(photo.captions, replace(rule, adults_only=False)) != group:
            return group, "word for a child"
        return group, "too few captions agree"
    areas = [
        (o["x1"] - o["x0"]) * (o["y1"] - o["y0"]) * photo.original_area_ratio
        for o in persons
        if not o["crowd"]
    ]
    problem = rule.person_problem(areas, any(o["crowd"] for o in persons))
    return ("unknown", problem) if problem else (group, "")


def _row(photo: Photo, group: str) -> dict[str, Any]:
    return {
        "id": photo.id,
        "cluster": photo.id,
        "image": photo.image,
        "width": photo.width,
        "height": photo.height,
        "captions": list(photo.captions),
        "objects": [dict(o) for o in photo.objects],
        "present": sorted({o["class"] for o in photo.objects}),
        "group": group,
        "split": photo.split,
        "licence": photo.licence,
        "source": photo.source,
    }
