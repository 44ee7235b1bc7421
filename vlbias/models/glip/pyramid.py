"""The feature pyramid (Lin et al., CVPR 2017) on the maps of the image encoder, with two more levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from vlbias.models.glip.shape import GlipConfig

__all__ = ["Pyramid"]


class _TopBlocks(nn.Module):
    """Two more levels from the smallest one, as in RetinaNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, 2, 1)
        self.p7 = nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, smallest: Tensor) -> tuple[Tensor, Tensor]:
        sixth = self.p6(smallest)
        return sixth, self.p7(functional.relu(sixth))


class Pyramid(nn.Module):
    """Five maps [R, D, h, w] of the same width, the largest first.

    Args:
        config: The shape of the model.
    """

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self._numbers = range(2, len(config.depths) + 1)
        for number in self._numbers:
            width = config.embed_dim * 2 ** (number - 1)
            self.add_module(f"fpn_inner{number}", nn.Conv2d(width, config.channels, 1))
            layer = nn.Conv2d(config.channels, config.channels, 3, 1, 1)
            self.add_module(f"fpn_layer{number}", layer)
        self.top_blocks = _TopBlocks(config.channels)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels of maps that are the largest first."""
        inner = [
            self.get_submodule(f"fpn_inner{number}")(one)
            for number, one in zip(self._numbers, maps, strict=True)
        ]
        for larger, smaller in reversed(list(pairwise(range(len(inner))))):
            above = functional.interpolate(inner[smaller], size=inner[larger].shape[-2:])
            inner[larger] = inner[larger] + above
        levels = [
            self.get_submodule(f"fpn_layer{number}")(one)
            for number, one in zip(self._numbers, inner, strict=True)
        ]
        return (*levels, *self.top_blocks(levels[-1]))
