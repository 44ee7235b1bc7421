"""Gaps of single objects that learn from all objects, and what shape the bias has.

Few photos say little about one object and something about all of them: how large gaps are. Shrinking
each gap towards 0 by what the others show (Morris 1983) is nearer to the truth on average, and its
limits are shorter. They need no assumption on how the true gaps are distributed (Armstrong, Kolesar &
Plagborg-Moller, Econometrica 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq, linprog
from scipy.special import ndtr
from scipy.stats import norm, t

from vlbias.analysis.cluster_limits import object_degrees_of_freedom
from vlbias.analysis.functionals import crossfit
from vlbias.analysis.inference import check_level, multipliers
from vlbias.analysis.rates import Rates, noise

__all__ = [
    "PooledGaps",
    "bias_shape",
    "critical_value",
    "pooled_columns",
    "pooled_gaps",
    "worst_error",
]

_FEW = 10
_GRID = 400


@dataclass(frozen=True, eq=False)
class PooledGaps:
    """Shrunken gaps of one pair of groups.

    Args:
        gap: [K] posterior means, in the units of the gaps.
        lo: [K] lower limits.
        hi: [K] upper limits.
        shrinkage: What is left of an observed gap, 0 to 1.
        size: Root mean square of the true gaps, in standard errors.
        status: "ok", or "few objects" below 10, where gaps are left as they are.
    """

    gap: npt.NDArray[np.float64]
    lo: npt.NDArray[np.float64]
    hi: npt.NDArray[np.float64]
    shrinkage: float
    size: float
    status: str


def pooled_gaps(rates: Rates, level: float = 0.95) -> PooledGaps:
    """Empirical Bayes estimates of the gaps of two groups, with limits that cover on average.

    Gaps are measured in their standard errors, since frequent objects have larger gaps and larger
    errors alike, and drawn towards 0 by the factor w = m / (m + 1), m the mean square of the true
    ones. Limits are w z +- c(1 / m, kurtosis) w, c the `critical_value`; of all objects together 95 %
    are covered, however the true gaps are distributed, but not each object by itself.

    Args:
        rates: Of two groups.
        level: Coverage wanted.
    """
    check_level(level)
    gap, spread = rates.gap[0], rates.spread[0]
    there = spread > 0
    df = object_degrees_of_freedom(rates)[0]
    z = np.divide(gap, spread, out=np.zeros_like(gap), where=there)
    if there.sum() < _FEW:
        reach = t.isf((1 - level) / 2, df) * spread
        return PooledGaps(gap, gap - reach, gap + reach, 1.0, np.nan, "few objects")
    square, kurtosis = _moments(z[there])
    weight = square / (square + 1)
    reach = critical_value(1 / square, kurtosis, level) * weight
    # errors that are themselves estimated from few clusters have heavier tails
    reach = reach * t.isf((1 - level) / 2, df) / norm.isf((1 - level) / 2)
    return PooledGaps(
        weight * gap,
        spread * (weight * z - reach),
        spread * (weight * z + reach),
        float(weight),
        float(np.sqrt(square)),
        "ok",
    )


def _moments(z: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean square and kurtosis of true gaps in standard errors, kept from 0 as Armstrong et al. do."""
    n = len(z)
    square = max(float((z**2 - 1).mean()), 2 / n)
    fourth = float((z**4 - 6 * z**2 + 3).mean())
    return square, max(fourth / square**2, 1 + 32 / (n * square**2))


def critical_value(square: float, kurtosis: float = np.inf, level: float = 0.95) -> float:
    """How many standard errors an estimate of unknown bias must reach to cover.

    Args:
        square: Mean square of the bias, in standard errors.
        kurtosis: Of the bias; infinite where nothing is known of it.
        level: Coverage wanted.

    Returns:
        The c at which the worst distribution of bias with these moments is missed by 1 - level.
    """
    low = float(norm.isf((1 - level) / 2))
    if square <= 0:
        return low
    # Chebyshev: a bias of this size is rarely larger than that
    high = low + np.sqrt((1 + square) / (1 - level)) + 1

    def missed(c: float) -> float:
        return worst_error(c, square, kurtosis) - (1 - level)

    return float(brentq(missed, low, high, xtol=1e-3))


def worst_error(c: float, square: float, kurtosis: float = np.inf) -> float:
    """Largest chance that a standard normal error and a random bias together exceed c.

    The bias b has E b^2 = `square` and E b^4 at most `kurtosis` times `square`^2. The worst
    distribution of b^2 is found by a linear programme over a grid.
    """
    least, most = 1e-4 * min(square, 1.0), 200 * max(square, 1.0) + 20 * c**2
    x = np.r_[0.0, np.geomspace(least, most, _GRID), square]
    root = np.sqrt(x)
    chance = ndtr(-c - root) + ndtr(-c + root)
    bounded = np.isfinite(kurtosis)
    solved = linprog(
        -chance,
        A_eq=np.stack([np.ones_like(x), x / square]),
        b_eq=[1.0, 1.0],
        A_ub=(x**2 / (kurtosis * square**2))[None] if bounded else None,
        b_ub=[1.0] if bounded else None,
        method="highs",
    )
    return float(-solved.fun)


def bias_shape(rates: Rates, *, draws: int = 500, rng: np.random.Generator) -> pd.DataFrame:
    """Whether the bias is a few large gaps or many small ones.

    The objects of the largest gaps are chosen, with their signs, on one half of a random split of the
    information (gaps plus and minus one draw of their sampling error, which are independent for normal
    gaps), and their gaps are measured on the other: noise alone puts no bias in the top objects.

    Args:
        rates: Of the objects used.
        draws: Random splits.
        rng: Seeded generator.

    Returns:
        Columns what and value: `share of the largest tenth`, `quarter` and `half` of the objects in the
        cross-fit B, `objects that carry the bias` (participation ratio: B^2 over the sum of squared
        gaps, without their noise), and `objects` in all. NaN where the bias cannot be told from 0.
    """
    (error,) = noise([rates], multipliers(rates.layout, draws, rng))
    chosen, measured = (np.abs(rates.gap + error), np.sign(rates.gap + error) * (rates.gap - error))
    order = np.argsort(-chosen, axis=-1)
    ranked = np.take_along_axis(measured, order, axis=-1).mean(axis=1)
    objects = rates.gap.shape[1]
    total = float(ranked.sum(axis=1).mean())
    squared = float((rates.gap**2 - rates.spread**2).mean(axis=0).sum())
    whole = float(crossfit(rates.gap, rates.spread))
    is_there = min(total, squared, whole) > 0
    rows: list[tuple[str, float]] = []
    for name, part in (("tenth", 0.1), ("quarter", 0.25), ("half", 0.5)):
        top = float(ranked[:, : max(1, round(part * objects))].sum(axis=1).mean())
        rows.append((f"share of the largest {name}", top / total if is_there else np.nan))
    carry = min(max(whole**2 / squared, 1.0), float(objects)) if is_there else np.nan
    rows += [("objects that carry the bias", carry), ("objects", float(objects))]
    return pd.DataFrame(rows, columns=["what", "value"])


def pooled_columns(objects: Sequence[str], rates: Rates, level: float = 0.95) -> pd.DataFrame:
    """Columns object, pooled, pooled_lo and pooled_hi; NaN beyond two groups.

    Args:
        objects: Names of the objects of the rates.
        rates: Of the objects with support.
        level: Coverage wanted.
    """
    gone = np.full(len(objects), np.nan)
    values = [gone, gone, gone]
    if len(rates.value) == 2 and len(objects):
        found = pooled_gaps(rates, level)
        values = [found.gap, found.lo, found.hi]
    names = ("pooled", "pooled_lo", "pooled_hi")
    return pd.DataFrame({"object": list(objects), **dict(zip(names, values, strict=True))})
