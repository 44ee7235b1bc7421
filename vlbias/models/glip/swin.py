"""The image encoder: a Swin Transformer (Liu et al., ICCV 2021) that keeps tokens in rows.

Windows are cut inside attention only, so that every module outside it has its tokens as [R, h·w, D].
Weights are named as in the published checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlbias.models.glip.shape import GlipConfig

__all__ = ["Swin"]

PATCH = 4
_OTHER_PART = -100.0
"""Added to the score of a token from another part of the image that a shift put into the window."""
Size = tuple[int, int]
"""Rows and columns of a map."""


class _PatchEmbed(nn.Module):
    """Patches of 4 x 4 pixels as tokens [R, h·w, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.norm(self.proj(pixels).flatten(2).transpose(1, 2))
        return tokens


class _WindowAttention(nn.Module):
    """Attention inside windows, which every second block shifts by half of their side."""

    def __init__(self, width: int, heads: int, side: int, shift: int) -> None:
        super().__init__()
        self.heads, self.side, self.shift = heads, side, shift
        table = torch.empty((2 * side - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(table)
        nn.init.trunc_normal_(table, std=0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        high, wide = (-(-length // self.side) * self.side for length in size)
        grid = tokens.unflatten(1, size)
        # padding takes part in attention, as in the published code: it is as zeros are
        grid = functional.pad(grid, (0, 0, 0, wide - size[1], 0, high - size[0]))
        if self.shift:
            grid = grid.roll((-self.shift, -self.shift), (1, 2))
        qkv = self.qkv(_windows(grid, self.side)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)  # each [R, windows, heads, side², d]
        bias = self.relative_position_bias_table[_relative(self.side, tokens.device)]
        bias = bias.permute(2, 0, 1)
        if self.shift:
            parts = _parts((high, wide), self.side, self.shift, tokens)
            bias = bias + parts[:, None]
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        grid = _whole(read.transpose(2, 3).flatten(3), (high, wide), self.side)
        if self.shift:
            grid = grid.roll((self.shift, self.shift), (1, 2))
        # a product of matrices rounds otherwise where rows do not lie side by side
        kept = grid[:, : size[0], : size[1]].flatten(1, 2).contiguous()
        given: Tensor = self.proj(kept)
        return given


def _relative(side: int, device: torch.device) -> Tensor:
    """Row of the table of biases for every pair of places in a window, [side², side²]."""
    place = torch.arange(side**2, device=device)
    row, column = place // side, place % side
    down, right = (one[:, None] - one + side - 1 for one in (row, column))
    return down * (2 * side - 1) + right


def _windows(grid: Tensor, side: int) -> Tensor:
    """Tokens [R, windows, side², D] of a grid [R, h, w, D]."""
    rows, high, wide, width = grid.shape
    cut = grid.view(rows, high // side, side, wide // side, side, width)
    return cut.transpose(2, 3).reshape(rows, -1, side**2, width)


def _whole(windows: Tensor, size: Size, side: int) -> Tensor:
    """The grid [R, h, w, D] of windows."""
    rows, _, _, width = windows.shape
    cut = windows.view(rows, size[0] // side, size[1] // side, side, side, width)
    return cut.transpose(2, 3).reshape(rows, *size, width)


def _parts(size: Size, side: int, shift: int, like: Tensor) -> Tensor:
    """What is added to scores inside shifted windows, [windows, side², side²]."""

    def part(length: int) -> Tensor:
        place = torch.arange(length, device=like.device)
        return (place >= length - side).long() + (place >= length - shift).long()

    number = part(size[0])[:, None] * 3 + part(size[1])
    inside = _windows(number[None, :, :, None], side)[0, :, :, 0]
    apart = inside[:, None] != inside[:, :, None]
    return torch.zeros_like(apart, dtype=like.dtype).masked_fill(apart, _OTHER_PART)


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        given: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return given


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, side: int, shift: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _WindowAttention(width, heads, side, shift)
        self.mlp = _Mlp(width)

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), size)
        summed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return summed


class _PatchMerging(nn.Module):
    """Four neighbours become one token of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        grid = functional.pad(tokens.unflatten(1, size), (0, 0, 0, size[1] % 2, 0, size[0] % 2))
        four = [grid[:, down::2, right::2] for right in (0, 1) for down in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(four, -1).flatten(1, 2)))
        return merged


class _Layer(nn.Module):
    """Blocks on one grid; `downsample` is called by the whole."""

    def __init__(self, config: GlipConfig, number: int) -> None:
        super().__init__()
        width, side = config.embed_dim * 2**number, config.window_size
        self.blocks = nn.ModuleList(
            _Block(width, config.num_heads[number], side, side // 2 if i % 2 else 0)
            for i in range(config.depths[number])
        )
        if number + 1 < len(config.depths):
            self.downsample = _PatchMerging(width)

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, size)
        return tokens


class Swin(nn.Module):
    """Feature maps [R, D, h, w] of all layers but the first, strides 8, 16 and 32.

    Args:
        config: The shape of the model.
    """

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(config.embed_dim)
        self.layers = nn.ModuleList(_Layer(config, i) for i in range(len(config.depths)))
        for i in range(1, len(config.depths)):
            self.add_module(f"norm{i}", nn.LayerNorm(config.embed_dim * 2**i))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Maps of pixels [R, 3, H, W], sides of which the patches divide."""
        size = (pixels.shape[2] // PATCH, pixels.shape[3] // PATCH)
        tokens, maps = self.patch_embed(pixels), []
        for number, layer in enumerate(self.layers):
            if number:
                before: Any = self.layers[number - 1]
                tokens = before.downsample(tokens, size)
                size = (-(-size[0] // 2), -(-size[1] // 2))
            tokens = layer(tokens, size)
            if number:
                normed = self.get_submodule(f"norm{number}")(tokens)
                maps.append(normed.transpose(1, 2).unflatten(2, size).contiguous())
        return tuple(maps)
