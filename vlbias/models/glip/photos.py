"""Photos as GLIP gets them: scaled, normalised, and padded to whole patches."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlbias.models.glip.shape import GlipConfig

__all__ = ["pixels_of", "scaled_size"]


def scaled_size(size: tuple[int, int], shortest: int, longest: int) -> tuple[int, int]:
    """Width and height to which a photo is scaled; its sides keep their proportion, rounded down.

    Args:
        size: Width and height of the photo.
        shortest: Pixels of the shorter side.
        longest: Most pixels of the longer side, within rounding.
    """
    low, high = min(size), max(size)
    if high / low * shortest > longest:
        shortest = max(1, round(longest * low / high))
    other = int(shortest * high / low)
    if size[0] <= size[1]:
        return shortest, other
    return other, shortest


def pixels_of(image: Image.Image, config: GlipConfig) -> tuple[Tensor, tuple[int, int]]:
    """Red, green and blue [3, H, W], zeros at padding, and width and height without it."""
    size = scaled_size(image.size, config.shortest_edge, config.longest_edge)
    scaled = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(scaled, dtype=np.float32)).movedim(-1, 0)
    mean, std = (torch.tensor(v)[:, None, None] for v in (config.image_mean, config.image_std))
    wide, high = (-(-side // config.divisor) * config.divisor for side in size)
    pixels = torch.zeros(3, high, wide)
    pixels[:, : size[1], : size[0]] = (values - mean) / std
    return pixels, size
