"""Tokens of photos smoothed where regions cover them, and nothing else touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Patch", "Smoothing", "covered_tokens"]


def covered_tokens(share: Tensor, threshold: float | None) -> Tensor:
    """How much each token is smoothed, [..., P], from the share of it that is covered."""
    if threshold is None:
        return share
    most = share.amax(-1, keepdim=True)
    return ((share >= most.clamp(max=threshold)) & (most > 0)).float()


@dataclass(frozen=True)
class Patch:
    """What is smoothed in photos whose grids have one shape, prepared once for all blocks.

    Args:
        rows: Numbers of the photos in the batch, or a slice of all.
        span: Which of a photo's tokens are those of the grid.
        shape: Rows and columns of the grid.
        tokens: The N covered tokens, counted through all tokens of the batch.
        cells: The same, counted through the grids of these photos.
        weight: How much each is smoothed, [N, 1].
        kernels: How much of every row of the grid is in each, [H, H], and the same of columns, [W, W].
        ring: How much of every token is in the mean around the region of each photo, [photos, P].
    """

    rows: Tensor | slice
    span: slice
    shape: tuple[int, int]
    tokens: Tensor
    cells: Tensor
    weight: Tensor
    kernels: tuple[Tensor, Tensor]
    ring: Tensor


@dataclass(frozen=True)
class Smoothing:
    """How tokens are smoothed; see `FeatureBlur` for the settings."""

    fill: Literal["gaussian", "ring"]
    sigma: float
    ring: int
    keep_norms: bool

    def patch(
        self, weight: Tensor, shape: tuple[int, int], like: Tensor, *, before: int, rows: list[int]
    ) -> Patch | None:
        """The patch of some photos of a batch, or None where nothing is covered.

        Args:
            weight: How much each token of their grids is smoothed, [photos, P].
            shape: Rows and columns of the grid.
            like: The tokens of the batch, [R, T, D].
            before: Tokens that stand before those of the grid.
            rows: Numbers of the photos in the batch.
        """
        weight = weight.to(like)
        photo, cell = weight.nonzero(as_tuple=True)
        if not len(photo):
            return None
        numbers = torch.tensor(rows, device=like.device)
        count = shape[0] * shape[1]
        return Patch(
            slice(None) if len(rows) == len(like) else numbers,
            slice(before, before + count),
            shape,
            numbers[photo] * like.shape[1] + before + cell,
            photo * count + cell,
            weight[photo, cell, None],
            (self._kernel(shape[0], like), self._kernel(shape[1], like)),
            torch.stack([_around(one, shape, self.ring) for one in weight]),
        )

    def _kernel(self, length: int, like: Tensor) -> Tensor:
        """Gaussian weights [out, in], adding up to one also at the borders of the grid."""
        place = torch.arange(length, device=like.device, dtype=torch.float32)
        weight = torch.exp(-0.5 * ((place[:, None] - place) / self.sigma) ** 2)
        return (weight / weight.sum(1, keepdim=True)).to(like.dtype)

    def apply(self, tokens: Tensor, patch: Patch, strength: float) -> None:
        """Smooths the covered tokens in place.

        Args:
            tokens: Of the batch, [R, T, D], contiguous.
            patch: Which of them, and how much.
            strength: From 0, nothing, to 1.
        """
        flat = tokens.view(-1, tokens.shape[-1])
        grid = tokens[patch.rows, patch.span]
        old = flat.index_select(0, patch.tokens)
        if self.fill == "gaussian":
            across = patch.kernels[1] @ grid.unflatten(1, patch.shape)
            smooth = (patch.kernels[0] @ across.flatten(2)).view(-1, tokens.shape[-1])
            smooth = smooth.index_select(0, patch.cells)
        else:
            count = patch.shape[0] * patch.shape[1]
            mean = (patch.ring[:, None] @ grid).squeeze(1)
            smooth = mean.index_select(0, patch.cells // count)
        if self.keep_norms:
            before, now = (torch.linalg.vector_norm(x, dim=1, keepdim=True) for x in (old, smooth))
            smooth = smooth * (before / now.clamp(min=torch.finfo(now.dtype).tiny))
        flat.index_copy_(0, patch.tokens, torch.lerp(old, smooth, strength * patch.weight))


def _around(weight: Tensor, shape: tuple[int, int], width: int) -> Tensor:
    """Equal weights, adding up to 1, of the tokens up to `width` away from the region of a photo.

    Where all tokens are covered, of those covered least.
    """
    inside = (weight > 0).view(1, 1, *shape).float()
    wide = functional.max_pool2d(inside, 2 * width + 1, stride=1, padding=width)
    ring = ((wide > 0) & (inside == 0)).flatten()
    chosen = ring if bool(ring.any()) else weight == weight.min()
    return (chosen / chosen.sum()).to(weight)
