"""Segmentations of COCO, checked before pycocotools reads them: it trusts every number."""

from __future__ import annotations

from typing import Any

from vlbias.data.schema import Finite, checked
from vlbias.errors import BadData

__all__ = ["checked_shape"]


def checked_shape(shape: Any, size: tuple[int, int], where: str) -> Any:
    """A segmentation, once it is one of a photo of this width and height.

    Args:
        shape: Polygons, or run lengths as numbers or packed in a text.
        size: Width and height of the photo it was drawn on.
        where: File and annotation, for the message.

    Raises:
        BadData: if a polygon has fewer than three corners, or run lengths are not those of the photo.
    """
    if isinstance(shape, dict):
        return _checked_runs(shape, size, where)
    polygons = checked(list[list[Finite]], shape, f"{where}, segmentation")
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise BadData(
                f"{where}: a polygon of {len(polygon)} numbers, expected x and y of three corners or more"
            )
        if any(not -size[i % 2] <= x <= 2 * size[i % 2] for i, x in enumerate(polygon)):
            raise BadData(f"{where}: a polygon outside the photo of {size[0]} x {size[1]} px")
    return polygons


def _checked_runs(shape: dict[str, Any], size: tuple[int, int], where: str) -> Any:
    width, height = size
    counts = shape.get("counts")
    if shape.get("size") != [height, width]:
        raise BadData(
            f"{where}: run lengths of size {shape.get('size')!r}, expected [{height}, {width}] as the photo"
        )
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        runs = []
    if sum(runs) != width * height:
        raise BadData(f"{where}: run lengths that do not add up to {width} x {height} px")
    return {"size": [height, width], "counts": counts}


def _unpacked(text: str) -> list[int] | None:
    """Run lengths of COCO's packed form: five bits a letter, differences to the run two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs
