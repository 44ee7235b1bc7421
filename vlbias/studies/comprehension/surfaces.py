"""Surface edits of images, of the area of a deep edit: background, colour, position, crop, blur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from vlbias.causal.example import ImageEdit
from vlbias.causal.region import Box, Mask, Region
from vlbias.data.fill import Fill, FillRegion
from vlbias.data.placebo_regions import placebo_region
from vlbias.data.surface_edits import CropMargin, MovePicture, ShiftColour

__all__ = ["SURFACES", "Canvas", "Surface", "shift_amount", "surface_edit"]

Surface = Literal["background", "colour", "position", "crop", "blur"]
SURFACES: tuple[Surface, ...] = get_args(Surface)
_BLUR = 0.1
"""Standard deviation over the height of what is blurred, as in `FillRegion`."""

Pixels = NDArray[np.bool_]


@dataclass(frozen=True)
class Canvas:
    """An image for surface edits of the area of a deep edit.

    Args:
        outline: Pixels [height, width] of the deep edit.
        painted: Pixels whose colour may change with no change of meaning, and what is next to them.
        spared: Boxes of what is shown: nothing is painted there, and all of them stay in the picture.
        amount: By how much of 255 colours are shifted: what the deep edit changes, mean over its pixels.
        fill: What the background is painted with; None for a shift of its colour.
    """

    outline: Pixels
    painted: Pixels
    spared: Sequence[Box]
    amount: int
    fill: Fill | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.outline.shape[1], self.outline.shape[0]

    @property
    def area(self) -> int:
        """Of the deep edit, px."""
        return int(self.outline.sum())


def surface_edit(kind: Surface, canvas: Canvas, seed: int) -> ImageEdit | None:
    """An edit of a kind with the area of the deep edit; None if there is no room for it.

    Args:
        kind: "background" paints pixels away from all that is shown, in the outline of the deep edit;
            "blur" blurs them; "colour" changes the colour of what may have another; "position" moves the
            picture and "crop" cuts its margin off until as many pixels are gone.
        canvas: Where.
        seed: Of the place, direction or cut.
    """
    rng = np.random.default_rng(seed)
    if kind == "colour":
        return ShiftColour(Mask.of(_nearest(canvas.painted, canvas.area)), canvas.amount)
    if kind == "position":
        return _move(canvas, rng)
    if kind == "crop":
        return _crop(canvas, rng)
    outline = Region("outline", mask=Mask.of(canvas.outline))
    moved = placebo_region(outline, canvas.size, seed, canvas.spared).mask
    if moved is None:  # tiles would have another outline
        return None
    if kind == "blur":
        rows = np.flatnonzero(canvas.outline.any(1))
        return FillRegion(
            (), "blur", blur_per_height=_BLUR, mask=moved, height=float(np.ptp(rows)) + 1
        )
    return (
        ShiftColour(moved, canvas.amount)
        if canvas.fill is None
        else FillRegion((), canvas.fill, mask=moved)
    )


def shift_amount(strength: float, area: int) -> int:
    """By how much of 255 a shift of colours is as strong as an edit of some strength and area."""
    return int(np.clip(round(255 * strength / area), 1, 127))


def _nearest(painted: Pixels, count: int) -> Pixels:
    """So many pixels: of those that are painted the lower ones first, then the nearest others."""
    away = distance_transform_edt(~painted).ravel()
    order = np.lexsort((-np.arange(away.size), away))
    chosen = np.zeros(away.size, bool)
    chosen[order[:count]] = True
    return chosen.reshape(painted.shape)


def _bounds(boxes: Sequence[Box]) -> Box:
    corners = np.array(boxes, float)
    return (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())


def _move(canvas: Canvas, rng: np.random.Generator) -> MovePicture | None:
    """A move in one of the four directions in which nothing that is shown leaves the picture."""
    (width, height), (x0, y0, x1, y1) = canvas.size, _bounds(canvas.spared)
    across, down = canvas.area / height, canvas.area / width
    rooms = (
        (width - x1, across, 0.0),
        (x0, -across, 0.0),
        (height - y1, 0.0, down),
        (y0, 0.0, -down),
    )
    free = [(dx, dy) for room, dx, dy in rooms if abs(dx + dy) <= room]
    return MovePicture(*free[rng.integers(len(free))]) if free else None


def _crop(canvas: Canvas, rng: np.random.Generator) -> CropMargin | None:
    """A cut of the margins that keeps the proportions and all that is shown."""
    (width, height), (x0, y0, x1, y1) = canvas.size, _bounds(canvas.spared)
    share = math.sqrt(max(0.0, 1 - canvas.area / (width * height)))
    corner = []
    for full, low, high in ((width, x0, x1), (height, y0, y1)):
        first, last = max(0.0, high - share * full), min(low, full - share * full)
        if first > last:
            return None
        corner.append(float(rng.uniform(first, last)))
    left, top = corner
    return CropMargin((left, top, left + share * width, top + share * height))
