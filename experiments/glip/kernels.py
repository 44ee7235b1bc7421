"""What the peer computes on a GPU only, written from its kernels' indices, so that it runs on a CPU.

Both read as the kernels do: memory by its place, with no look at the shape it was given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["deformable", "suppressed"]


def deformable(
    features: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    *_: Any,
) -> Tensor:
    """The modulated deformable convolution of `modulated_deformable_im2col_gpu_kernel`, one group.

    The kernel walks the memory of offsets and masks in steps of the *output's* rows and columns.
    """
    side = weight.shape[2]
    high, wide = (
        (length + 2 * padding - dilation * (side - 1) - 1) // stride + 1
        for length in features.shape[2:]
    )
    place = torch.arange(high * wide)
    down, right = place // wide * stride - padding, place % wide * stride - padding
    rows = []
    for image, shifts, shares in zip(features, offset, mask, strict=True):
        shift, share, columns = shifts.flatten(), shares.flatten(), []
        for tap in range(side**2):
            y = down + tap // side * dilation + shift[2 * tap * high * wide + place]
            x = right + tap % side * dilation + shift[(2 * tap + 1) * high * wide + place]
            columns.append(_between(image, y, x) * share[tap * high * wide + place])
        taps = torch.stack(columns, 1).flatten(0, 1)
        rows.append((weight.flatten(1) @ taps + bias[:, None]).view(-1, high, wide))
    return torch.stack(rows)


def _between(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values of an image [C, H, W] at fractional places, zero around it, [C, places]."""
    top, left = y.floor(), x.floor()
    total = image.new_zeros(image.shape[0], len(y))
    for row, row_share in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_share in ((left, 1 - (x - left)), (left + 1, x - left)):
            there = (row >= 0) & (row < image.shape[1]) & (column >= 0) & (column < image.shape[2])
            at = (row * image.shape[2] + column).where(there, torch.zeros_like(row)).long()
            total += image.flatten(1)[:, at] * (row_share * column_share * there)
    return total


def suppressed(boxes: Tensor, scores: Tensor, overlap: float) -> list[int]:
    """Numbers of the boxes that are left, the best first; a box reaches to the end of its last pixel."""
    left = scores.argsort(descending=True, stable=True).tolist()
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    kept: list[int] = []
    for number in left:
        low = torch.maximum(boxes[number, :2], boxes[kept, :2])
        high = torch.minimum(boxes[number, 2:], boxes[kept, 2:])
        shared = (high - low + 1).clamp(min=0).prod(1)
        if not bool((shared / (area[number] + area[kept] - shared) > overlap).any()):
            kept.append(number)
    return kept
