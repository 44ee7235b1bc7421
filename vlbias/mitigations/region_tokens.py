"""Which tokens of an image encoder a region covers, by the model's own image processor.

The region is drawn as a picture and goes through the processor like the photo, so that resizing,
cropping, padding and patches need not be known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vlbias.causal.example import Picture
from vlbias.causal.photo_sizes import picture_of
from vlbias.causal.staged_model import Batch, StagedModel
from vlbias.errors import BadData, BadModel

__all__ = ["Drawing", "Grid", "on_grid", "pixels_of"]

Grid = list[tuple[int, int]]
"""Rows and columns of patches of each row."""

_MOST_SPECIAL = 8
"""At most so many tokens stand before those of the patches: the class token and registers."""


class Drawing:
    """Maps regions of photos to what an image tower reads.

    Args:
        model: The model.
        tower: Its tower that reads images.
        region: Name of the region that pictures carry.
    """

    def __init__(self, model: StagedModel, tower: str, region: str) -> None:
        self._model, self._tower, self._region = model, tower, region
        self._ends: tuple[Tensor, Tensor] | None = None

    def __call__(self, rows: Sequence[Any]) -> Tensor:
        """The share of each pixel that lies in the region, 0 to 255, as the tower's pixels lie.

        Returns:
            [R, H, W], or [R, patches, pixels of a patch] of models that read patches, or [R, N, H, W] of
            those that read a photo in N tiles.

        Raises:
            BadData: if a picture does not carry the region, or it lies outside; names the file.
        """
        drawn = [self._drawn(row) for row in rows]
        pixels = self._pixels(drawn)
        low, high = self._black_and_white(rows[0])
        # green is white in all of the photo: what the processor padded is none
        inside = pixels[..., 1] > low[1] + 0.75 * (high - low)[1]
        red = (pixels[..., 0] - low[0]).mul_(255.0 / (high - low)[0]).clamp_(0, 255)
        share = (red.mul_(inside)).round_().to(torch.uint8)
        return share.flatten(1, -3) if share.ndim > 3 else share

    def _drawn(self, row: Any) -> Any:
        picture = picture_of(row)
        if picture is None:
            raise BadModel(f"{self._model.name}: a row of {self._tower} holds no picture")
        region = picture.region(self._region)
        size = picture.size
        paint = np.zeros((size[1], size[0], 3), dtype=np.uint8)
        paint[..., 1] = 255
        try:
            paint[..., 0] = region.pixels(size) * np.uint8(255)
        except BadData as error:
            raise BadData(f"{picture}: {error}") from error
        return _with_picture(row, Image.fromarray(paint))

    def _pixels(self, rows: Sequence[Any]) -> Tensor:
        """The pixels of rows with the three colours last.

        Raises:
            BadModel: if it is not known how they lie.
        """
        batch = self._model.collate(self._tower, rows)
        pixels: Tensor = pixels_of(batch)
        if pixels.ndim >= 4:  # of images [R, 3, H, W], or of tiles [R, …, 3, H, W]
            return pixels.movedim(-3, -1)
        if "spatial_shapes" not in batch:
            raise BadModel(
                f"{self._model.name}: its processor cuts photos into patches in an order of its own, so that "
                "it is not known which tokens a region covers; blur the photo itself (pixel-blur)"
            )
        patches: Tensor = pixels.unflatten(-1, (-1, 3))
        return patches

    def _black_and_white(self, row: Any) -> tuple[Tensor, Tensor]:
        """What the processor makes of black and of white, channel by channel."""
        if self._ends is None:
            plain = [_with_picture(row, Image.new("RGB", (64, 64), v)) for v in ("black", "white")]
            pixels = self._pixels(plain)
            # the extremes: a processor may have padded, with a value in between
            both = pixels.flatten(1, -2)
            self._ends = both[0].amin(0), both[1].amax(0)
        return self._ends


def _with_picture(row: Any, image: Image.Image) -> Any:
    if isinstance(row, Picture):
        return Picture(image)
    return tuple(Picture(image) if isinstance(part, Picture) else part for part in row)


def pixels_of(batch: Batch) -> Tensor:
    """The pixels in the batch of a tower that reads images."""
    found = [v for v in batch.values() if v.is_floating_point() and v.ndim >= 3]
    if len(found) != 1:
        raise BadModel(f"expected one tensor of pixels in the batch, found {len(found)}")
    return found[0]


def on_grid(share: Tensor, feature: Tensor, shapes: Tensor | None) -> tuple[Tensor, int, Grid]:
    """The share of the region in each token of a feature.

    Args:
        share: From `Drawing`.
        feature: [R, T, D], special tokens first, or a feature map [R, C, h, w].
        shapes: Rows and columns of each row's patches [R, 2], where the model reads patches.

    Returns:
        Shares [R, patches] in 0 to 1, how many tokens stand before the patches, and the grid.

    Raises:
        BadModel: if the tokens are on no grid of the image.
    """
    if shapes is not None:
        patches = share.float().mean(-1) / 255
        grid = [(int(h), int(w)) for h, w in shapes]
        return patches, feature.shape[1] - patches.shape[1], grid
    height, width = share.shape[1:]
    if feature.ndim == 4:
        before, (h, w) = 0, (feature.shape[2], feature.shape[3])
    else:
        before, (h, w) = _grid(feature.shape[1], height, width)
    pooled = functional.adaptive_avg_pool2d(share[:, None].float() / 255, (h, w))
    return pooled.flatten(1), before, [(h, w)] * len(share)


def _grid(tokens: int, height: int, width: int) -> tuple[int, tuple[int, int]]:
    """The fewest special tokens with which the others are a grid in the proportion of the image."""
    for before in range(min(_MOST_SPECIAL, tokens - 1) + 1):
        patches = tokens - before
        side = (height * width / patches) ** 0.5
        near = range(max(1, int(side) - 2), int(side) + 4)
        for stride in sorted(near, key=lambda n: abs(n - side)):
            for h, w in (
                (height // stride, width // stride),
                (-(-height // stride), -(-width // stride)),
            ):
                if h * w == patches:
                    return before, (h, w)
    raise BadModel(
        f"{tokens} tokens are no grid of patches of an image of {width} x {height} px; give sites whose "
        "tokens are patches, such as 'image_encoder/resid.*'"
    )
