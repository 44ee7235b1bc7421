"""Views cut out of a photo for training, and which categories are still to be seen in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from reference.photos import Photo, to_pixels
from torch import Tensor

__all__ = ["View", "object_view", "scene_view", "visible"]

SEEN, HIDDEN = 0.5, 0.1  # a box counts as present above the one share, as absent below the other
SMALLEST = 64  # pixels of the photo's file; smaller crops are mere blur


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of a photo, perhaps mirrored: left, top, right, bottom in pixels of the file."""

    left: int
    top: int
    right: int
    bottom: int
    mirrored: bool

    def pixels(self, image: Tensor, side: int) -> Tensor:
        """What the model sees of `image` [3, h, w] through this view, float [3, side, side]."""
        cut = image[:, self.top : self.bottom, self.left : self.right]
        return to_pixels(cut.flip(2) if self.mirrored else cut, side)


def scene_view(height: int, width: int, rng: np.random.Generator) -> View:
    """Most of the photo: at least about half of its area, mirrored every other time."""
    mirrored = bool(rng.random() < 0.5)
    share, stretch = rng.uniform(0.5, 1.0), np.exp(rng.uniform(-0.2, 0.2))
    w = int(min(width, round(width * np.sqrt(share) * stretch)))
    h = int(min(height, round(height * np.sqrt(share) / stretch)))
    left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return View(left, top, left + w, top + h, mirrored)


def object_view(
    photo: Photo, height: int, width: int, weights: np.ndarray, rng: np.random.Generator
) -> View:
    """The surroundings of one box, drawn with the weight of its category.

    Small objects are a few pixels of a resized photo; seen from near they teach what they look
    like.

    Args:
        photo: The photo with its boxes; without any the view is a scene view.
        height: Of the file, pixels.
        width: Of the file, pixels.
        weights: Relative frequency with which boxes of each category are drawn, [categories].
        rng: Source of all draws.
    """
    if not len(photo.boxes):
        return scene_view(height, width, rng)
    chance = weights[photo.classes]
    left, top, right, bottom = photo.boxes[rng.choice(len(chance), p=chance / chance.sum())]
    grow = rng.uniform(1.3, 4.0)
    w = int(np.clip((right - left) * grow, SMALLEST, width))
    h = int(np.clip((bottom - top) * grow, SMALLEST, height))
    # neither side more than twice the other: squeezing to a square distorts too much
    w, h = min(width, max(w, h // 2)), min(height, max(h, w // 2))
    shift = rng.uniform(-0.25, 0.25, 2)
    x = int(np.clip((left + right) / 2 + (shift[0] - 0.5) * w, 0, width - w))
    y = int(np.clip((top + bottom) / 2 + (shift[1] - 0.5) * h, 0, height - h))
    return View(x, y, x + w, y + h, bool(rng.random() < 0.5))


def visible(photo: Photo, view: View, categories: int) -> tuple[np.ndarray, np.ndarray]:
    """Which categories a view shows, and for which that can be said.

    Returns:
        present: bool [categories], some box of the category is at least half inside the view.
        known: bool [categories], false where the only boxes are cut off to less than that.
    """
    b = photo.boxes
    wide = np.minimum(b[:, 2], view.right) - np.maximum(b[:, 0], view.left)
    high = np.minimum(b[:, 3], view.bottom) - np.maximum(b[:, 1], view.top)
    area = np.maximum((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]), 1e-6)
    share = np.clip(wide, 0, None) * np.clip(high, 0, None) / area
    present, known = np.zeros(categories, bool), np.ones(categories, bool)
    known[photo.classes[share > HIDDEN]] = False
    present[photo.classes[share >= SEEN]] = True
    return present, known | present
