"""The arithmetic of edits of a linear map W [out, in], of which y = W k reads keys and gives values.

After Meng et al. (2022, ROME; 2023, MEMIT), Gupta et al. (2024, one key) and Hu et al. (2024, cost and
interference), in the notation of their code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "RankOneUpdate",
    "interference",
    "least_squares_update",
    "rank_one_update",
    "update_along",
]


@dataclass(frozen=True, eq=False)
class RankOneUpdate:
    """The update left ⊗ right of a map.

    Args:
        left: How far the output moves, for each unit of overlap with `right`, [out]; double precision.
        right: Direction of keys that are moved, of length 1, [in]; double precision.
        cost: Frobenius norm of the update over that of the map (LA of Hu et al.).
    """

    left: Tensor
    right: Tensor
    cost: float

    @property
    def matrix(self) -> Tensor:
        """The update, [out, in]."""
        return torch.outer(self.left, self.right)


def rank_one_update(
    weight: Tensor, residual: Tensor, key: Tensor, moments: Tensor, direction: Tensor | None = None
) -> RankOneUpdate:
    """The smallest update, in the metric of the moments, that moves the output of one key.

    Args:
        weight: The map, [out, in].
        residual: By how much the output of `key` moves, [out]: v* - W k.
        key: [in].
        moments: C = E[k kᵀ] of keys, [in, in]; positive definite.
        direction: Key that the direction C⁻¹k is made of; `key` itself if not given (r-ROME). The published
            code of ROME takes a mean over prefixes here and the prefix-free key above: the update then
            grows without bound as the two become orthogonal.
    """
    whitened = torch.linalg.solve(moments, (key if direction is None else direction).to(moments))
    return update_along(weight, residual, key, whitened)


def update_along(weight: Tensor, residual: Tensor, key: Tensor, whitened: Tensor) -> RankOneUpdate:
    """As `rank_one_update`, of which C⁻¹k is known.

    Args:
        weight: The map, [out, in].
        residual: By how much the output of `key` moves, [out].
        key: [in].
        whitened: C⁻¹k of the key that gives the direction, [in].
    """
    right = whitened / whitened.norm()
    # in the precision of the moments: a small overlap would make rounding large
    left = residual.to(right) / torch.dot(right, key.to(right))
    # the norm of an outer product is the product of the norms, and `right` has length 1
    return RankOneUpdate(left, right, float(left.norm() / weight.norm()))


def least_squares_update(residuals: Tensor, keys: Tensor, moments: Tensor, weight: float) -> Tensor:
    """The update of MEMIT, [out, in]: R Kᵀ (λ C + K Kᵀ)⁻¹.

    Args:
        residuals: By how much each key's output is to move, R [out, n].
        keys: K [in, n].
        moments: C [in, in] of keys that are to be left alone.
        weight: λ, of these against the new ones.
    """
    metric = weight * moments + (keys @ keys.T).to(moments)
    whitened: Tensor = torch.linalg.solve(metric, keys.to(moments))
    return (residuals.to(moments) @ whitened.T).to(residuals)


def interference(update: RankOneUpdate, keys: Tensor) -> Tensor:
    """By how much an update moves the outputs of other keys, exactly: left (right · k), [n, out].

    With one key this is Λ k_jᵀC⁻¹k of Hu et al., where Λ is the residual over kᵀC⁻¹k.

    Args:
        update: The update.
        keys: [n, in].
    """
    return torch.outer(keys.to(update.right) @ update.right, update.left)
