"""The test of "no disparity" by exchanged group labels, studentised by each group's own dependence.

Labels are exchangeable only where groups are alike in everything. Where rates are equal and the
dependence between objects or within clusters is not, a sum of squared gaps has another spread than
its permutations. Sums are therefore divided by their own standard error, from the covariances of
each group, anew for every permutation (Janssen 1997; Chung & Romano 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from vlbias.analysis.group_moments import GroupMoments, UnitSums
from vlbias.analysis.inference import permutation_p
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.permutation import Aggregate, aggregate_gaps, permuted_units
from vlbias.analysis.rates import Measure, Thresholds, group_pairs

__all__ = ["LabelTest", "label_test"]

_BLOCK = 250  # draws held at once
_ALIKE = 1.5
_MANY = 30
_FOLDED = 2 / np.pi
_SKEW_OF_ONE = 0.2180  # third cumulant of an absolute standard normal
_SKEW_SHARED = 8 / (2 * np.pi) ** 1.5  # of the part of it that is a square, per unit of trace


@dataclass(frozen=True, eq=False)
class LabelTest:
    """The label-permutation test of "no disparity" and what the same draws give.

    Args:
        p: Of the studentised sum of squares over all objects.
        p_plugin: Of the studentised sum of absolute gaps.
        statistic: [K] studentised absolute gap of each object.
        drawn: [R, K] the same under permuted labels.
        correlation: Root of the mean squared correlation of two objects' gaps, between 0 and 1.
    """

    p: float
    p_plugin: float
    statistic: Floats
    drawn: Floats
    correlation: float


def label_test(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds | None,
    *,
    measure: Measure = "fpr",
    objects: npt.NDArray[np.intp] | None = None,
    aggregate: Aggregate = "pairwise",
    strata: npt.ArrayLike | None = None,
    permutations: int = 2000,
    rng: np.random.Generator,
) -> LabelTest:
    """The permutation test of equal rates, all objects at once.

    The statistic Q of an object is the between-group sum of squares over its variance; for two
    groups the squared z. Rates use the pooled variance (equal under the hypothesis) times each
    group's design effect where there are clusters; scores use each group's own (DiCiccio, Vasudevan,
    Basu, Kenthapadi & Agarwal, KDD 2020), so that unequal variances alone do not reject. The sum of
    Q over objects has variance 2 sum r^2, r the correlations of gaps: compared is
    (sum z^2 - K) / sqrt(2 sum r^2), after a cube root that takes out its skewness, which the
    correlations give as well, with its permutations and with the normal distribution that it then nearly
    has; see `_p_value`.

    Args:
        panel: Images and groups.
        scores: [S, K].
        thresholds: [K], not needed for "score".
        measure: What is compared.
        objects: Columns with support.
        aggregate: How k groups become one gap.
        strata: [S] labels within which images are exchangeable.
        permutations: Number of draws.
        rng: Seeded generator.
    """
    own, codes, unit = permuted_units(panel, permutations, rng, strata)
    sums = UnitSums(panel, scores, thresholds, measure, objects, unit)
    k = len(panel.groups)
    seen = _statistics(sums.moments(own[None], k), aggregate)
    drawn = [
        _statistics(sums.moments(codes[start : start + _BLOCK], k), aggregate)
        for start in range(0, permutations, _BLOCK)
    ]
    every = {name: np.concatenate([one[name] for one in drawn]) for name in seen}
    sizes = sums.sizes(own, k)
    return LabelTest(
        _p_value(float(seen["squares"][0]), every["squares"], *sizes),
        _p_value(float(seen["plugin"][0]), every["plugin"], *sizes),
        seen["single"][0],
        every["single"],
        float(seen["correlation"][0]),
    )


def _p_value(observed: float, drawn: Floats, unit_size: Floats, units: Floats) -> float:
    """By permutations, by the normal distribution, or the larger of both.

    With fewer than 30 clusters in a group the normal distribution is not reached, and permutations
    decide. Where clusters are larger in one group labels are no more exchangeable than cluster sizes,
    and the normal distribution decides; permutations then reject never or too often.
    """
    permuted, normal = permutation_p(observed, drawn), float(ndtr(-observed))
    if unit_size.max() > _ALIKE * unit_size.min():
        return max(normal, 1 / (1 + len(drawn)))
    return max(permuted, normal) if units.min() >= _MANY else permuted


def _statistics(found: GroupMoments, aggregate: Aggregate) -> dict[str, Floats]:
    single = _single(found)
    contrasts = found.value.shape[1] - 1
    square, cube = _spectrum(found)
    mean = float(single.shape[1] * contrasts)
    standard = ((single**2).sum(axis=1) - mean) / np.sqrt(2 * square)
    pairs = max(single.shape[1] * (single.shape[1] - 1) * contrasts, 1)
    return {
        "single": single,
        "squares": _made_normal(standard, np.sqrt(8) * cube / square**1.5),
        "plugin": _studentised_sum(found, aggregate, cube),
        "correlation": np.sqrt(np.maximum(square - mean, 0) / pairs),
    }


def _made_normal(standard: Floats, skewness: Floats) -> Floats:
    """A standardised sum of this skewness, as if chi-square of that skewness, made normal.

    Three moments after Hall, Buckley and Eagleson (1988), the cube root after Wilson & Hilferty (1931).
    """
    df = 8 / np.maximum(skewness, 1e-3) ** 2
    part = 2 / (9 * df)
    return np.asarray((np.cbrt(1 + standard * np.sqrt(2 / df)) - (1 - part)) / np.sqrt(part))


def _spectrum(found: GroupMoments) -> tuple[Floats, Floats]:
    """[R] traces of the second and third power of the correlations of all objects' gaps.

    With more than two groups a contrast's correlation is the root of half the covariance of two
    objects' sums of squares, over the number of contrasts.
    """
    contrasts = found.value.shape[1] - 1
    many, m = found.value.shape[2], found.paired
    shared = _square_correlations(found)
    side = np.sign(found.correlation.sum(axis=1))
    r = side * np.sqrt(np.clip(shared / contrasts, 0, 1))
    matrix = np.zeros((len(r), m, m), np.float32)
    rows, columns = np.triu_indices(m, 1)
    matrix[:, rows, columns] = matrix[:, columns, rows] = r
    pairs, triples = m * (m - 1), m * (m - 1) * (m - 2)
    squares = np.maximum(2 * shared.sum(axis=1) / contrasts / max(pairs, 1), 0)
    cubes = np.einsum("rij,rij->r", matrix @ matrix, matrix).astype(np.float64) / max(triples, 1)
    every = many * (many - 1)
    square = many + every * squares
    cube = many + 3 * every * squares + every * (many - 2) * cubes
    return contrasts * square, contrasts * np.maximum(cube, many)


def _single(found: GroupMoments) -> Floats:
    """[R, K] root of the between-group sum of squares, in standard errors."""
    weight = 1 / np.maximum(found.variance, 1e-12)
    middle = (weight * found.value).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt((weight * (found.value - middle) ** 2).sum(axis=1)))


def _square_correlations(found: GroupMoments) -> Floats:
    """[R, J] half the covariance of two objects' sums of squares, less what chance gives."""
    k = found.value.shape[1]
    # what a group's standardised rate leaves to the contrasts between groups
    share = 1 / np.maximum(found.variance, 1e-12)
    root = np.sqrt(share / share.sum(axis=1, keepdims=True))
    total: Any = 0.0
    for g in range(k):
        for h in range(k):
            same = float(g == h)
            left = (same - root[:, g] * root[:, h])[:, found.first]
            right = (same - root[:, g] * root[:, h])[:, found.second]
            own = found.correlation[:, g] * found.correlation[:, h]
            if g == h:
                own = own - found.chance[:, g, None] * (1 - own) ** 2
            total = total + left * right * own
    return np.asarray(total)


def _studentised_sum(found: GroupMoments, aggregate: Aggregate, cube: Floats) -> Floats:
    """[R] sum of absolute gaps less its mean without gaps, over its standard error, made normal."""
    pairs = group_pairs(found.value.shape[1])
    spread = {p: np.sqrt(found.variance[:, p[0]] + found.variance[:, p[1]]) for p in pairs}
    mean = np.sqrt(_FOLDED) * sum(s.sum(axis=1) for s in spread.values()) / len(pairs)
    a, b = found.first, found.second
    root = np.sqrt(found.variance[..., a] * found.variance[..., b]) * found.correlation
    scale = found.value.shape[2] * (found.value.shape[2] - 1) / max(2 * len(a), 1)
    variance: Any = 0.0
    for one in pairs:
        for two in pairs:
            own = _covariance(one, two, found.variance)
            variance = variance + _folded(own, spread[one], spread[two]).sum(axis=1)
            cross = _covariance(one, two, root)
            part = _folded(cross, spread[one][:, a], spread[two][:, b]).sum(axis=1)
            variance = variance + 2 * scale * part
    error = np.sqrt(np.maximum(variance, 1e-24)) / len(pairs)
    wide = _range_over_pair(found.value.shape[1]) if aggregate == "range" else 1.0
    total = aggregate_gaps(found.value, aggregate).sum(axis=-1) / wide
    contrasts, many = found.value.shape[1] - 1, found.value.shape[2]
    size = np.sqrt(np.mean([(s**2).mean(axis=1) for s in spread.values()], axis=0))
    # an absolute normal is mostly its square: what objects share is skewed as squares are
    third = _SKEW_OF_ONE * many + _SKEW_SHARED * (cube / contrasts - many)
    return _made_normal((total - mean) / error, third * (size / np.maximum(error, 1e-12)) ** 3)


def _covariance(one: tuple[int, int], two: tuple[int, int], by_group: Floats) -> Floats:
    """[R, J] covariance of the gap of one pair of groups with that of another."""
    total: Any = np.zeros(by_group[:, 0].shape)
    for g, sign in zip(one, (1, -1), strict=True):
        for h, other in zip(two, (1, -1), strict=True):
            if g == h:
                total = total + sign * other * by_group[:, g]
    return np.asarray(total)


def _folded(covariance: Floats, first: Floats, second: Floats) -> Floats:
    """Covariance of the absolute values of two centred normals (Nabeya 1951)."""
    size = first * second
    r = np.divide(covariance, size, out=np.zeros(size.shape), where=size > 0)
    r = np.clip(r, -1, 1)
    return np.asarray(_FOLDED * size * (r * np.arcsin(r) + np.sqrt(1 - r * r) - 1))


def _range_over_pair(k: int) -> float:
    """Expected range of k standard normals over the expected distance of two."""
    x = np.linspace(-8, 8, 4001)
    below = ndtr(x)
    return float(np.trapezoid(1 - below**k - (1 - below) ** k, x) / (2 / np.sqrt(np.pi)))
