"""Draws shared by all arms, intervals and p-values from them, and ratios that stay valid near 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit
from scipy.stats import t

from vlbias.analysis.panel import Floats, PanelLayout
from vlbias.errors import BadStudy

__all__ = [
    "Interval",
    "bootstrap_t",
    "bounded",
    "bounded_p",
    "check_level",
    "cluster_weights",
    "fieller",
    "interval",
    "largest_left_open",
    "linearised",
    "multipliers",
    "p_value",
    "permutation_p",
    "rounded_down",
    "student",
]


@dataclass(frozen=True)
class Interval:
    """An estimate with its standard error, limits and two-sided p-value against 0."""

    estimate: float
    se: float
    lo: float
    hi: float
    p: float


def check_level(level: float) -> float:
    """The level, if it is a probability.

    Raises:
        BadStudy: otherwise.
    """
    if not 0 < level < 1:
        raise BadStudy("level", level, "a number between 0 and 1, for example 0.95")
    return level


def multipliers(layout: PanelLayout, draws: int, rng: np.random.Generator) -> Floats:
    """[D, B] two-point weights per part of a bag (Mammen 1993), equal within a bag, single precision.

    Bags are the clusters, and their parts the cells of the layout, up to 16,384 clusters
    (`cluster_bags.make_bags`). Mean 0, variance 1 and third moment 1: the draws keep the skewness of rare
    events, which normal or symmetric multipliers would lose. The same draws go to all arms: comparisons are
    paired.
    """
    bags = layout.bags
    root = np.sqrt(5.0)
    low, high = np.float32((1 - root) / 2), np.float32((1 + root) / 2)
    is_low = rng.random((draws, bags.n), dtype=np.float32) < (root + 1) / (2 * root)
    return np.where(is_low[:, bags.bag], low, high)


def cluster_weights(
    n_clusters: int, draws: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """[D, C] how often each cluster is drawn when C are drawn with replacement.

    For statistics of sums: multiply by sums per cluster. Not for a sum of absolute gaps, whose
    percentile bootstrap never covers (see experiments/results/coverage.md).
    """
    weights = np.empty((draws, n_clusters))
    for row in weights:
        row[:] = np.bincount(rng.integers(0, n_clusters, n_clusters), minlength=n_clusters)
    return weights


def interval(
    estimate: float,
    replicates: Floats,
    level: float = 0.95,
    *,
    side: Literal["both", "lower", "upper"] = "both",
    df: float = np.inf,
) -> Interval:
    """Student's interval whose standard error is the largest over the centres drawn around.

    Args:
        estimate: The estimate.
        replicates: [Z, D] draws of the same functional around Z centres.
        level: Coverage wanted.
        side: One-sided limits leave the other end infinite.
        df: Degrees of freedom of the standard error (`cluster_limits.degrees_of_freedom`);
            infinite for normal limits.
    """
    se = float(np.std(replicates, axis=-1, dtype=np.float64).max())
    tail = (1 - check_level(level)) / (2 if side == "both" else 1)
    reach = -float(stdtrit(df, tail)) * se
    lo = -np.inf if side == "upper" else estimate - reach
    hi = np.inf if side == "lower" else estimate + reach
    return Interval(estimate, se, lo, hi, p_value(estimate, se, df))


def p_value(estimate: float, se: float, df: float = np.inf) -> float:
    """Two-sided p-value of Student's t; 1 where estimate and error are both 0."""
    if se == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * stdtr(df, -abs(estimate) / se))


def largest_left_open(
    estimate: float, se: float, level: float = 0.95, *, df: float = np.inf
) -> float:
    """The smallest bound on the absolute value that two one-sided tests accept (Schuirmann 1987).

    "No more than this" holds with the level's probability; NaN without an error.
    """
    return abs(estimate) - float(stdtrit(df, 1 - check_level(level))) * se


def student(
    total: npt.NDArray[np.float64], count: npt.NDArray[np.intp], level: float = 0.95
) -> Interval:
    """Mean over all entries, with Student's limits over clusters; infinite with one cluster.

    Args:
        total: [C] sums over the entries of each cluster.
        count: [C] entries of each cluster; clusters without entries are no data.
        level: Coverage wanted.
    """
    estimate, se, clusters = _cluster_mean(total, count)
    if clusters < 2:
        return Interval(estimate, np.inf, -np.inf, np.inf, 1.0)
    reach = float(t.ppf(0.5 + check_level(level) / 2, clusters - 1)) * se
    p = float(2 * t.sf(abs(estimate) / se, clusters - 1)) if se else p_value(estimate, se)
    return Interval(estimate, se, estimate - reach, estimate + reach, p)


def linearised(
    estimate: float, part: npt.NDArray[np.float64], level: float = 0.95
) -> tuple[float, float]:
    """Student's limits of a smooth function of means; infinite with one cluster.

    Args:
        estimate: The function of the means.
        part: [C] each cluster's part in it, to first order; sums to 0.
        level: Coverage wanted.
    """
    clusters = len(part)
    if clusters < 2:
        return -np.inf, np.inf
    se = float(np.sqrt((part**2).sum() * clusters / (clusters - 1)))
    reach = float(t.isf((1 - check_level(level)) / 2, clusters - 1)) * se
    return estimate - reach, estimate + reach


def bootstrap_t(
    total: npt.NDArray[np.float64],
    count: npt.NDArray[np.intp],
    weights: npt.NDArray[np.float64],
    level: float = 0.95,
) -> Interval:
    """As `student`, with quantiles of the studentised mean of resampled clusters (Efron 1981).

    Follows moderate skewness, which Student's limits ignore.

    Args:
        total: [C].
        count: [C].
        weights: [D, C] how often each cluster is drawn; see `cluster_weights`.
        level: Coverage wanted.

    Returns:
        Infinite limits where no draw has an error.
    """
    plain = student(total, count, level)
    if not np.isfinite(plain.se) or plain.se == 0:
        return plain
    entries = weights @ count
    known = entries > 0
    entries = np.where(known, entries, 1)
    mean = (weights @ total) / entries
    squares = weights @ total**2 - 2 * mean * (weights @ (total * count))
    squares += mean**2 * (weights @ np.square(count))
    error = np.sqrt(np.maximum(squares, 0)) / entries
    # a draw of one cluster alone has no error and is no evidence either way
    known &= error > 1e-9 * plain.se
    if not known.any():  # few draws of few clusters say nothing of the limits
        return Interval(plain.estimate, plain.se, -np.inf, np.inf, plain.p)
    tail = (1 - check_level(level)) / 2
    low, high = np.quantile((mean - plain.estimate)[known] / error[known], [tail, 1 - tail])
    lo, hi = plain.estimate - float(high) * plain.se, plain.estimate - float(low) * plain.se
    return Interval(plain.estimate, plain.se, lo, hi, plain.p)


def _cluster_mean(
    total: npt.NDArray[np.float64], count: npt.NDArray[np.intp]
) -> tuple[float, float, int]:
    """Mean, its standard error and the number of clusters with entries."""
    clusters = int(np.count_nonzero(count))
    estimate = float(total.sum() / count.sum())
    square = float(((total - estimate * count) ** 2).sum())
    return (
        estimate,
        float(np.sqrt(square * clusters / max(clusters - 1, 1)) / count.sum()),
        clusters,
    )


def bounded(
    lower: tuple[float, Floats],
    upper: tuple[float, Floats],
    level: float = 0.95,
    *,
    df: float = np.inf,
) -> tuple[float, float]:
    """Limits for a quantity known to lie between the expectations of two statistics.

    Args:
        lower: A statistic whose expectation is at most the quantity, and its [Z, D] draws.
        upper: One whose expectation is at least the quantity, and its draws.
        level: Coverage wanted; half of the error goes to each end.
        df: Degrees of freedom of the standard errors.
    """
    side = 1 - (1 - check_level(level)) / 2
    lo = interval(*lower, side, side="lower", df=df).lo
    hi = interval(*upper, side, side="upper", df=df).hi
    return lo, hi


def bounded_p(
    lower: tuple[float, Floats], upper: tuple[float, Floats], *, df: float = np.inf
) -> float:
    """Two-sided p-value against 0 of a quantity known to lie between two expectations; see `bounded`."""
    sides = []
    for (estimate, drawn), sign in ((lower, 1.0), (upper, -1.0)):
        se = interval(estimate, drawn).se
        sides.append(p_value(estimate, se, df) if sign * estimate > 0 else 1.0)
    return min(sides)


def fieller(
    numerator: float,
    denominator: float,
    covariance: npt.NDArray[np.float64],
    level: float = 0.95,
    *,
    df: float = np.inf,
) -> tuple[float, float]:
    """Limits of a ratio after Fieller (1954): all r for which numerator - r denominator may be 0.

    Args:
        numerator: Estimate above the line.
        denominator: Estimate below the line.
        covariance: [2, 2] of the two.
        level: Coverage wanted.
        df: Degrees of freedom of the covariance.

    Returns:
        Two limits; (-inf, inf) where the denominator cannot be told from 0, since then no bounded
        interval is valid (Gleser & Hwang 1987).
    """
    z = float(t.isf((1 - check_level(level)) / 2, df))
    a = denominator**2 - z**2 * covariance[1, 1]
    b = numerator * denominator - z**2 * covariance[0, 1]
    c = numerator**2 - z**2 * covariance[0, 0]
    root = b**2 - a * c
    if a <= 0 or root < 0:
        return -np.inf, np.inf
    reach = float(np.sqrt(root))
    return (b - reach) / a, (b + reach) / a


def permutation_p(observed: float, drawn: Floats) -> float:
    """(1 + draws at least as large) / (1 + draws); never 0 (Phipson & Smyth 2010)."""
    return float((1 + np.count_nonzero(drawn >= rounded_down(observed))) / (1 + drawn.shape[0]))


def rounded_down(observed: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A statistic less what rounding may add, so that equal draws count; infinite ones stay so."""
    size = np.asarray(observed, np.float64)
    return np.asarray(size - 1e-9 * np.clip(np.abs(size), 1.0, np.finfo(np.float64).max))
