"""Shares of a change: Shapley values over parts, and increments along a path of layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations, pairwise
from math import factorial

from vlbias.analysis.arm_estimates import Combination
from vlbias.errors import MissingArms

__all__ = ["coalition", "coalitions", "increments", "shapley"]


def coalition(parts: Collection[str]) -> str:
    """Name of the arm in which exactly these parts are taken from the other world."""
    return "+".join(sorted(parts)) or "none"


def coalitions(parts: Sequence[str]) -> list[str]:
    """All 2^m arms that `shapley` needs; 8 for three encoders."""
    return [coalition(c) for size in range(len(parts) + 1) for c in combinations(parts, size)]


def shapley(parts: Sequence[str]) -> tuple[Combination, ...]:
    """One sum of arms per part: its mean marginal change over all orders (Shapley 1953).

    Give them to `effects.combine` with one arm per coalition and base "none"; the shares add up to
    the change from none to all, exactly, whatever interacts.
    """
    m = len(parts)
    found = []
    for part in parts:
        others = [p for p in parts if p != part]
        terms: dict[str, float] = {}
        for size in range(m):
            weight = factorial(size) * factorial(m - size - 1) / factorial(m)
            for chosen in combinations(others, size):
                terms[coalition((*chosen, part))] = weight
                terms[coalition(chosen)] = -weight
        found.append(Combination(f"share of {part}", terms))
    return tuple(found)


def increments(path: Sequence[str]) -> tuple[Combination, ...]:
    """One difference per step of cumulative arms: what each layer adds to those before it.

    Effects of single layers of a residual stream are nested, each redoes all that is upstream, and
    do not add up to 100 %. Increments of cumulative patching (layers 1..l) do.

    Args:
        path: Arm names in order, the unpatched arm first.

    Raises:
        MissingArms: if there are fewer than two arms.
    """
    if len(path) < 2:
        raise MissingArms(f"a path needs at least two cumulative arms, got {list(path)}")
    return tuple(
        Combination(f"{after} after {before}", {after: 1, before: -1})
        for before, after in pairwise(path)
    )
