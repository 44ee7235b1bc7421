"""Where a placebo fills: as many pixels, of the same shape where it fits, away from the persons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from vlbias.causal.region import Box, Mask, PixelBox, Region, mask_of, pixel_box

__all__ = ["PlaceboRegion", "placebo_boxes", "placebo_region"]

_TILES = (32, 16, 8, 4)  # side lengths in px, tried in turn
_ATTEMPTS = 4


class PlaceboRegion(NamedTuple):
    """Where a placebo fills, and how that was found.

    `boxes` is None where there is no such region; `how` is then the reason, else "same-shape" or
    "tiles". `overlap` is the share of the region that lies on persons, `height` what
    `FillRegion.height` should be (None where every box has its person's own height).
    """

    boxes: tuple[Box, ...] | None
    overlap: float
    how: str
    height: float | None = None


def placebo_boxes(
    person_boxes: Sequence[Box], size: tuple[int, int], seed: int, avoid: Sequence[Box] = ()
) -> PlaceboRegion:
    """A region away from the persons that has exactly as many pixels as theirs.

    First every group of overlapping person boxes is moved as one to a free place, so shapes and
    heights stay; if that does not fit, square tiles of the background are drawn at random until
    the area is equal (the last one is cut). The idea of an equal-area control elsewhere in the
    image is that of Wang and Russakovsky (2021).

    Args:
        person_boxes: xyxy in pixels of the file.
        size: Width and height of the image.
        seed: Fixes the choice; the same seed gives the same region.
        avoid: Other boxes to keep away from: the whole persons, where the region is their heads.

    Raises:
        BadData: if a box is outside the image.
    """
    area = int(mask_of(person_boxes, size).sum())
    persons = mask_of([*person_boxes, *avoid], size)
    if area == 0:
        return PlaceboRegion(None, 0.0, "no person box in the image")
    if 2 * area > persons.size:
        return PlaceboRegion(None, 0.0, "persons cover more than half of the image")
    pixels = [pixel_box(box, size) for box in person_boxes]
    rng = np.random.default_rng(seed)
    for _ in range(_ATTEMPTS):
        moved = _moved(_clusters(pixels), persons, rng)
        if moved is not None:
            return _checked(moved, persons, area, "same-shape", None)
    height = float(max(y1 - y0 for _, y0, _, y1 in pixels))
    for side in _TILES:
        tiles = _tiles(persons, area, side, rng)
        if tiles is not None:
            return _checked(tiles, persons, area, "tiles", height)
    return PlaceboRegion(None, 0.0, "no background of the same area in tiles of 4 px or more")


def _checked(
    boxes: Sequence[PixelBox],
    persons: NDArray[np.bool_],
    area: int,
    how: str,
    height: float | None,
) -> PlaceboRegion:
    chosen: tuple[Box, ...] = tuple(
        (float(a), float(b), float(c), float(d)) for a, b, c, d in boxes
    )
    mask = mask_of(chosen, (persons.shape[1], persons.shape[0]))
    assert int(mask.sum()) == area
    return PlaceboRegion(chosen, float((mask & persons).sum() / area), how, height)


def _clusters(boxes: Sequence[PixelBox]) -> list[list[PixelBox]]:
    """Boxes grouped by chains of overlap, largest groups first; empty boxes are left out."""
    groups: list[list[PixelBox]] = []
    for box in boxes:
        if box[2] <= box[0] or box[3] <= box[1]:
            continue
        touching = [group for group in groups if any(_overlap(box, other) for other in group)]
        groups = [group for group in groups if group not in touching]
        groups.append([box, *(other for group in touching for other in group)])
    return sorted(groups, key=lambda g: -sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in g))


def _overlap(a: PixelBox, b: PixelBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _moved(
    clusters: Sequence[Sequence[PixelBox]], persons: NDArray[np.bool_], rng: np.random.Generator
) -> list[PixelBox] | None:
    """Every cluster at a random free place, or None as soon as one fits nowhere."""
    blocked = persons.copy()
    placed: list[PixelBox] = []
    for cluster in clusters:
        left, top = min(b[0] for b in cluster), min(b[1] for b in cluster)
        shape = [(x0 - left, y0 - top, x1 - left, y1 - top) for x0, y0, x1, y1 in cluster]
        free = np.flatnonzero(at := _free(blocked, shape))
        if free.size == 0:
            return None
        dy, dx = divmod(int(free[rng.integers(free.size)]), at.shape[1])
        for x0, y0, x1, y1 in shape:
            blocked[y0 + dy : y1 + dy, x0 + dx : x1 + dx] = True
            placed.append((x0 + dx, y0 + dy, x1 + dx, y1 + dy))
    return placed


def _free(blocked: NDArray[np.bool_], shape: Sequence[PixelBox]) -> NDArray[np.bool_]:
    """At which offsets (row, column) the shape meets nothing blocked, by an integral image."""
    height, width = blocked.shape
    total = np.zeros((height + 1, width + 1), dtype=np.int64)
    total[1:, 1:] = blocked.cumsum(0).cumsum(1)
    rows = height - max(b[3] for b in shape) + 1
    columns = width - max(b[2] for b in shape) + 1
    free = np.ones((rows, columns), dtype=bool)
    for x0, y0, x1, y1 in shape:
        corner = {(x, y): total[y : y + rows, x : x + columns] for x in (x0, x1) for y in (y0, y1)}
        inside = corner[x1, y1] - corner[x0, y1] - corner[x1, y0] + corner[x0, y0]
        free &= inside == 0
    return free


def _tiles(
    persons: NDArray[np.bool_], area: int, side: int, rng: np.random.Generator
) -> list[PixelBox] | None:
    """Random background tiles of side² px, the last cut so that the area is exact, or None."""
    rows, columns = persons.shape[0] // side, persons.shape[1] // side
    grid = persons[: rows * side, : columns * side].reshape(rows, side, columns, side)
    free = np.flatnonzero(~grid.any((1, 3)))
    full, rest = divmod(area, side * side)
    if free.size < full + (rest > 0):
        return None
    chosen = rng.permutation(free)[: full + (rest > 0)]
    corners = [(int(i) % columns * side, int(i) // columns * side) for i in chosen]
    tiles = [(x, y, x + side, y + side) for x, y in corners[:full]]
    if rest:
        (x, y), (lines, pixels) = corners[full], divmod(rest, side)
        if lines:
            tiles.append((x, y, x + side, y + lines))
        if pixels:
            tiles.append((x, y + lines, x + pixels, y + lines + 1))
    return tiles


def placebo_region(
    region: Region, size: tuple[int, int], seed: int, avoid: Sequence[Box] = ()
) -> Region:
    """The placebo of a region, under the name "placebo-" and its name.

    Boxes as in `placebo_boxes`. A mask is moved as it is to a random place where it touches neither
    itself nor `avoid`; if there is none, its area is drawn in tiles.

    Args:
        region: The region; of an empty one the placebo is empty too.
        size: Width and height of the image.
        seed: Fixes the choice.
        avoid: Boxes to keep away from.

    Raises:
        BadData: if the region is outside the image.
    """
    name = f"placebo-{region.name}"
    if region.is_empty:
        return Region(name, absent=region.absent)
    if region.mask is None:
        found = placebo_boxes(region.boxes, size, seed, avoid)
        if found.boxes is None:
            return Region(name, absent=found.how)
        return Region(name, found.boxes, height=found.height)
    return _moved_mask(name, region, size, seed, avoid)


def _moved_mask(
    name: str, region: Region, size: tuple[int, int], seed: int, avoid: Sequence[Box]
) -> Region:
    inside = region.pixels(size)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return Region(name)
    rng = np.random.default_rng(seed)
    blocked = inside | mask_of(avoid, size)
    shape = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    heights = [box[3] - box[1] for box in region.boxes] or [float(shape.shape[0])]
    # how many blocked pixels the shape would meet at each offset
    meets = fftconvolve(blocked.astype(np.float64), shape[::-1, ::-1].astype(np.float64), "valid")
    free = np.flatnonzero(meets < 0.5)
    if free.size:
        dy, dx = divmod(int(free[rng.integers(free.size)]), meets.shape[1])
        moved = np.zeros_like(inside)
        moved[dy : dy + shape.shape[0], dx : dx + shape.shape[1]] = shape
        return Region(name, mask=Mask.of(moved), height=max(heights))
    for side in _TILES:
        tiles = _tiles(blocked, int(inside.sum()), side, rng)
        if tiles is not None:
            boxes = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in tiles)
            return Region(name, boxes, height=max(heights))
    return Region(name, absent="no background of the same area in tiles of 4 px or more")
