"""The dynamic head (Dai et al., CVPR 2021): attention over levels, places and channels of feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import deform_conv2d

from vlbias.models.glip.shape import GlipConfig

__all__ = ["DynamicLayer", "as_maps", "as_tokens"]

Sizes = Sequence[tuple[int, int]]
"""Rows and columns of each level."""
_OFFSETS, _MASKS = 18, 9
"""Numbers for each place of a 3 x 3 kernel: a shift down and right for each of its taps, and a weight."""


def as_tokens(maps: Sequence[Tensor]) -> Tensor:
    """The places of all levels one behind the other, [R, N, C]."""
    return torch.cat([one.flatten(2).transpose(1, 2) for one in maps], 1)


def as_maps(tokens: Tensor, sizes: Sizes) -> list[Tensor]:
    """The levels [R, C, h, w] of their places [R, N, C]."""
    parts = tokens.transpose(1, 2).split([high * wide for high, wide in sizes], 2)
    return [part.unflatten(2, size).contiguous() for part, size in zip(parts, sizes, strict=True)]


class _DeformableConv(nn.Module):
    """A 3 x 3 convolution whose taps are shifted and weighted place by place (Zhu et al., CVPR 2019).

    Shifts and weights may be those of a larger map. The published kernel then reads its memory from the
    beginning as if it were of the size of the output, and weights were trained so. (What it reads is not what
    lies at a place; mmdetection does the same.)
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, features: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        size = tuple((length - 1) // self.stride + 1 for length in features.shape[-2:])
        kind = torch.promote_types(features.dtype, torch.float32)
        found: Tensor = deform_conv2d(
            features.to(kind),
            _from_the_beginning(offset.to(kind), size),
            self.weight.to(kind),
            self.bias.to(kind),
            stride=self.stride,
            padding=1,
            mask=_from_the_beginning(mask.to(kind), size),
        )
        return found.to(features.dtype)


def _from_the_beginning(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Memory of [R, K, H, W] read as [R, K, *size], which has no more numbers."""
    if values.shape[2:] == size:
        return values
    count = values.shape[1] * size[0] * size[1]
    return values.flatten(1)[:, :count].reshape(*values.shape[:2], *size)


class _Conv(nn.Module):
    def __init__(self, config: GlipConfig, stride: int) -> None:
        super().__init__()
        self.conv = _DeformableConv(config.channels, stride)
        self.bn = nn.GroupNorm(config.groups, config.channels)

    def forward(self, features: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.bn(self.conv(features, offset, mask))
        return found


def _hard_sigmoid(values: Tensor) -> Tensor:
    return functional.relu6(values + 3) / 6


class _DynamicRelu(nn.Module):
    """The larger of two lines for each channel, which the mean over all places sets."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.fc = nn.Sequential(
            nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, 4 * channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        set_to = _hard_sigmoid(self.fc(features.mean((2, 3))))[..., None, None] - 0.5
        slope, shift, other_slope, other_shift = set_to.chunk(4, 1)
        line = features * (1 + 2 * slope) + shift
        return torch.maximum(line, features * (2 * other_slope) + other_shift)


class DynamicLayer(nn.Module):
    """One step on the image; the text passes by.

    Each level is made of itself and its neighbours, each weighted as a whole.

    Args:
        config: The shape of the model.
    """

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        # of the smaller level, of the level itself, of the larger level
        self.DyConv = nn.ModuleList(_Conv(config, stride) for stride in (1, 1, 2))
        # the published numbers of its weights count a pooling before them
        self.AttnConv = nn.Sequential(nn.Identity(), nn.Conv2d(config.channels, 1, 1))
        self.relu = _DynamicRelu(config.channels)
        self.offset = nn.Conv2d(config.channels, _OFFSETS + _MASKS, 3, 1, 1)
        # the image without the text that is handed on beside it
        self.stream = nn.Identity()

    def forward(
        self, image: Tensor, text: Tensor, mask: Tensor, sizes: Any
    ) -> tuple[Tensor, Tensor]:
        """The places of all levels after it, and the text."""
        maps = as_maps(image, sizes)
        levels = [self._level(maps, level) for level in range(len(maps))]
        return self.stream(as_tokens(levels)), text

    def _level(self, maps: Sequence[Tensor], level: int) -> Tensor:
        offset, mask = self.offset(maps[level]).split((_OFFSETS, _MASKS), 1)
        taps = (offset, mask.sigmoid())
        found = [self.DyConv[1](maps[level], *taps)]
        if level > 0:
            found.append(self.DyConv[2](maps[level - 1], *taps))
        if level + 1 < len(maps):
            smaller = self.DyConv[0](maps[level + 1], *taps)
            size = maps[level].shape[-2:]
            found.append(functional.interpolate(smaller, size, mode="bilinear", align_corners=True))
        weights = [
            _hard_sigmoid(functional.relu(self.AttnConv(one.mean((2, 3), keepdim=True))))
            for one in found
        ]
        summed = torch.stack([one * weight for one, weight in zip(found, weights, strict=True)])
        given: Tensor = self.relu(summed.mean(0))
        return given
