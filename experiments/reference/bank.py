"""Views of the photos of the fit split, run once through the frozen lower blocks and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from reference.dual import lower_blocks
from reference.photos import Photo
from reference.views import View, object_view, scene_view, visible
from torch import Tensor
from transformers import VisionTextDualEncoderModel

__all__ = ["Bank", "fill_bank", "plan_views"]


@dataclass(frozen=True)
class Bank:
    """What is kept of each view; the first half of a photo's views are scenes, the rest objects.

    Args:
        hidden: After the frozen blocks, float16 [photos, views, tokens, width].
        present: Categories that a view shows, bool [photos, views, categories].
        known: Where that can be said, same shape.
    """

    hidden: Tensor
    present: Tensor
    known: Tensor


def plan_views(
    photos: Sequence[Photo],
    sizes: Sequence[tuple[int, int]],
    count: int,
    weights: np.ndarray,
    rng: np.random.Generator,
) -> list[list[View]]:
    """For each photo `count` scene views and `count` object views.

    The first scene view is the whole photo, the second its mirror image.

    Args:
        photos: The photos.
        sizes: Height and width of each file.
        count: Views of either kind, at least 2.
        weights: As for `object_view`.
        rng: Source of all draws.
    """
    plan = []
    for photo, (h, w) in zip(photos, sizes, strict=True):
        scenes = [View(0, 0, w, h, False), View(0, 0, w, h, True)]
        scenes += [scene_view(h, w, rng) for _ in range(count - 2)]
        plan.append(scenes + [object_view(photo, h, w, weights, rng) for _ in range(count)])
    return plan


def fill_bank(
    model: VisionTextDualEncoderModel,
    photos: Sequence[Photo],
    images: Sequence[Tensor],
    plan: Sequence[Sequence[View]],
    *,
    blocks: int,
    categories: int,
    report: Callable[[], None] = lambda: None,
) -> Bank:
    """Runs every planned view through the lower blocks.

    Args:
        model: The dual encoder.
        photos: The photos, with their boxes.
        images: Their pixels, uint8 [3, height, width].
        plan: The views of each photo, equally many.
        blocks: How many vision blocks are frozen.
        categories: How many categories there are.
        report: Called after every photo.
    """
    side = model.config.vision_config.image_size
    hidden, present, known = [], [], []
    for photo, image, views in zip(photos, images, plan, strict=True):
        pixels = torch.stack([view.pixels(image, side) for view in views])
        hidden.append(lower_blocks(model, pixels, blocks).half())
        labels = [visible(photo, view, categories) for view in views]
        present.append(np.stack([each for each, _ in labels]))
        known.append(np.stack([each for _, each in labels]))
        report()
    return Bank(
        torch.stack(hidden),
        torch.from_numpy(np.stack(present)),
        torch.from_numpy(np.stack(known)),
    )
