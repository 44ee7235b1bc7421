"""Counterfactual images: regions filled in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vlbias.causal.region import Box, Mask, PixelBox, Region, pixel_box
from vlbias.errors import BadStudy, MissingExtra

__all__ = ["FILLS", "Fill", "FillRegion"]

Fill = Literal["blur", "mean", "black", "inpaint"]
FILLS: tuple[Fill, ...] = get_args(Fill)
_INPAINT_RADIUS = 3  # px; what OpenCV's own examples take


@dataclass(frozen=True, slots=True)
class FillRegion:
    """An edit that fills boxes or a mask of an image; strength 0 gives the image back bit by bit.

    Args:
        boxes: xyxy in pixels of the file.
        fill: "blur" (Gaussian), "mean" (mean colour of the image), "black", or "inpaint" (continued from
            around it, Telea 2004; by OpenCV).
        strength: Share of the filled image in the result, 0 to 1.
        blur_per_height: Standard deviation of the blur over the height of the box.
        height: Height in px that sets the blur in place of each box's own; a placebo of small
            tiles needs it to be blurred as the persons would be.
        mask: Fill these pixels alone; the boxes then only set the blur.
        keep: What is painted back. Other annotated objects inside the region, so that only the person
            goes (mask 7 of Wang and Russakovsky 2021); with boxes in place of masks much of the person
            may be kept too. Or the persons, where all else is changed.

    Raises:
        BadStudy: if fill or strength is not allowed.
        BadData: if a box is empty, not finite or, when applied, outside the image.
        MissingExtra: if applied with "inpaint" without OpenCV.
    """

    boxes: tuple[Box, ...]
    fill: Fill = "blur"
    strength: float = 1.0
    blur_per_height: float = 0.1
    height: float | None = None
    mask: Mask | None = None
    keep: Region | None = None

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise BadStudy("fill", self.fill, f"one of {', '.join(FILLS)}")
        if not 0.0 <= self.strength <= 1.0:
            raise BadStudy("strength", self.strength, "a number from 0 (nothing) to 1 (all)")
        if not self.blur_per_height > 0.0:
            raise BadStudy("blur_per_height", self.blur_per_height, "a positive number")
        Region("filled", self.boxes, self.mask)  # refuses bad boxes

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image in RGB with the region filled."""
        boxes = [pixel_box(box, image.size) for box in self.boxes]
        if self.strength == 0.0 or not (boxes or self.mask):
            return image
        image = image.convert("RGB")
        original = np.asarray(image)
        inside = Region("filled", self.boxes, self.mask).pixels(image.size)
        if self.keep is not None:
            inside = inside & ~self.keep.pixels(image.size)
        filled = self._filled(image, original, boxes or [_bounds(inside)], inside)
        mask = inside[:, :, None]
        if self.strength < 1.0:
            blend = original + self.strength * (filled.astype(np.float64) - original)
            filled = np.rint(blend).astype(np.uint8)
        return Image.fromarray(np.where(mask, filled, original))

    def _filled(
        self,
        image: Image.Image,
        original: NDArray[np.uint8],
        boxes: Sequence[PixelBox],
        inside: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        if self.fill == "inpaint":
            return _inpainted(original, inside)
        if self.fill == "black":
            return np.zeros_like(original)
        if self.fill == "mean":
            return np.broadcast_to(
                np.rint(original.mean((0, 1))).astype(np.uint8), original.shape
            ).copy()
        if self.height is not None:
            blur = ImageFilter.GaussianBlur(self.blur_per_height * self.height)
            return np.asarray(image.filter(blur))
        filled = original.copy()
        # The tallest box comes last, so that where boxes overlap the stronger blur stays.
        for x0, y0, x1, y1 in sorted(boxes, key=lambda box: box[3] - box[1]):
            sigma = self.blur_per_height * (y1 - y0)
            pad = math.ceil(3 * sigma) + 1
            left, top = max(0, x0 - pad), max(0, y0 - pad)
            crop = image.crop(
                (left, top, min(image.width, x1 + pad), min(image.height, y1 + pad))
            ).filter(ImageFilter.GaussianBlur(sigma))
            filled[y0:y1, x0:x1] = np.asarray(crop)[y0 - top : y1 - top, x0 - left : x1 - left]
        return filled


def _bounds(inside: NDArray[np.bool_]) -> PixelBox:
    """The smallest box around the pixels; of no pixel, one pixel."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _inpainted(original: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    try:
        cv2 = import_module("cv2")
    except ImportError as error:
        raise MissingExtra("regions", "opencv-python-headless") from error
    filled: NDArray[np.uint8] = cv2.inpaint(
        np.ascontiguousarray(original), inside.astype(np.uint8), _INPAINT_RADIUS, cv2.INPAINT_TELEA
    )
    return filled
