"""Edits that change how a picture looks and not what it shows, of a stated area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlbias.causal.example import ImageEdit
from vlbias.causal.region import Mask, Region
from vlbias.data.fill import FillRegion

__all__ = ["CropMargin", "MovePicture", "ShiftColour", "edited_area"]


@dataclass(frozen=True, slots=True)
class ShiftColour:
    """An edit that makes pixels darker; where a channel is too dark for that, lighter.

    Args:
        mask: Which pixels.
        amount: Of 255, on every channel.
    """

    mask: Mask
    amount: int = 70

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image in RGB with these pixels changed."""
        pixels = np.asarray(image.convert("RGB")).astype(int)
        inside = self.mask.pixels()
        pixels[inside] -= np.where(pixels[inside] >= self.amount, self.amount, -self.amount)
        return Image.fromarray(pixels.astype(np.uint8))


@dataclass(frozen=True, slots=True)
class CropMargin:
    """An edit that cuts the margin off and enlarges the rest to the old size.

    Args:
        box: What is kept, in px; parts of pixels count.
    """

    box: tuple[float, float, float, float]

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image in RGB, of the same size."""
        return image.convert("RGB").resize(image.size, Image.Resampling.BICUBIC, box=self.box)


@dataclass(frozen=True, slots=True)
class MovePicture:
    """An edit that moves all of a picture; its edge is repeated where nothing is left.

    Args:
        dx: To the right, in px; parts of pixels count.
        dy: Down.
    """

    dx: float
    dy: float

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image in RGB, of the same size."""
        pixels = np.asarray(image.convert("RGB")).astype(np.float64)
        for axis, by in ((1, self.dx), (0, self.dy)):
            pixels = _moved(pixels, by, axis)
        return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _moved(pixels: NDArray[np.float64], by: float, axis: int) -> NDArray[np.float64]:
    """Values along an axis, read so far before each place, between two pixels in proportion."""
    last = pixels.shape[axis] - 1
    at = np.clip(np.arange(last + 1) - by, 0, last)
    low = np.floor(at).astype(int)
    share = np.expand_dims(at - low, [d for d in range(3) if d != axis])
    before, after = (np.take(pixels, np.minimum(low + k, last), axis) for k in (0, 1))
    moved: NDArray[np.float64] = (1 - share) * before + share * after
    return moved


def edited_area(edit: ImageEdit, size: tuple[int, int]) -> float:
    """Pixels that an edit repaints, or that leave the picture by it.

    Args:
        edit: One of this module, or a `FillRegion`.
        size: Width and height of the picture.
    """
    width, height = size
    match edit:
        case ShiftColour():
            return float(edit.mask.pixels().sum())
        case CropMargin():
            x0, y0, x1, y1 = edit.box
            return width * height - (x1 - x0) * (y1 - y0)
        case MovePicture():
            return width * height - (width - abs(edit.dx)) * (height - abs(edit.dy))
        case FillRegion():
            inside = Region("filled", edit.boxes, edit.mask).pixels(size)
            if edit.keep is not None:
                inside = inside & ~edit.keep.pixels(size)
            return float(inside.sum())
    raise TypeError(f"{edit!r} has no known area")
