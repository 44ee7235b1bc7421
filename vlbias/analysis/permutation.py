"""Permutation engines: group labels between images, and two conditions within an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlbias.analysis.inference import permutation_p
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, group_pairs
from vlbias.errors import BadStudy

__all__ = ["Aggregate", "LabelTest", "aggregate_gaps", "label_test", "permuted_codes", "swap_test"]

Aggregate = Literal["pairwise", "range"]
"""How k group rates of one object become one gap: mean over pairs, or largest minus smallest."""

_BLOCK = 250  # draws held at once


@dataclass(frozen=True, eq=False)
class LabelTest:
    """The label-permutation test of "no disparity" and what the same draws give.

    Args:
        p: Of the studentised sum of squares over all objects.
        p_plugin: Of the plain sum of absolute gaps, for comparison.
        floor: [R] sum of absolute gaps under permuted labels.
        statistic: [K] studentised absolute gap of each object.
        drawn: [R, K] the same under permuted labels.
    """

    p: float
    p_plugin: float
    floor: Floats
    statistic: Floats
    drawn: Floats


def aggregate_gaps(value: Floats, aggregate: Aggregate) -> Floats:
    """[..., K] gap of each object from group rates [..., k, K]."""
    if aggregate == "range":
        spread: Floats = value.max(axis=-2) - value.min(axis=-2)
        return spread
    pairs = group_pairs(value.shape[-2])
    total: Floats = np.mean([np.abs(value[..., g, :] - value[..., h, :]) for g, h in pairs], axis=0)
    return total


def permuted_codes(
    panel: Panel,
    draws: int,
    rng: np.random.Generator,
    strata: npt.ArrayLike | None = None,
) -> npt.NDArray[np.int8]:
    """[R, S] group codes under exchangeable labels, columns in the panel's canonical row order.

    Labels move between clusters of one stratum. A cluster with rows of several groups keeps its
    labels and permutes them among its own rows.

    Raises:
        BadStudy: if a cluster with one group lies in two strata.
    """
    layout = panel.layout
    code = panel.code[layout.order]
    cluster = panel.cluster_code[layout.order]
    names = (
        np.zeros(len(panel), dtype=np.intp)
        if strata is None
        else np.unique(np.asarray(strata)[layout.order], return_inverse=True)[1]
    )
    first = np.full(layout.n_clusters, -1, dtype=np.intp)
    first[cluster[::-1]] = code[::-1]
    mixed = np.zeros(layout.n_clusters, dtype=bool)
    mixed[cluster[code != first[cluster]]] = True
    is_mixed = mixed[cluster]
    block = np.where(is_mixed, names.max(initial=0) + 1 + cluster, names)
    unit = np.where(is_mixed, layout.n_clusters + np.arange(len(panel)), cluster)
    _, head, back = np.unique(unit, return_index=True, return_inverse=True)
    if (block[head][back] != block).any():
        raise BadStudy("strata", "a cluster in two strata", "strata that keep clusters whole")
    units = np.empty((draws, len(head)), dtype=np.int8)
    for label in np.unique(block[head]):
        columns = np.flatnonzero(block[head] == label)
        start = np.broadcast_to(code[head][columns].astype(np.int8), (draws, len(columns)))
        units[:, columns] = rng.permuted(start, axis=1)
    return units[:, back]


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

    The statistic of an object is the between-group sum of squares over its variance; for two groups
    the squared z. Rates use the pooled variance (equal under the hypothesis), scores each group's
    own (DiCiccio, Vasudevan, Basu, Kenthapadi & Agarwal, KDD 2020), so that unequal variances alone
    do not reject.

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
    numerator, denominator = _row_sums(panel, scores, thresholds, measure, objects)
    own = panel.code[panel.layout.order].astype(np.int8)[None]
    k = len(panel.groups)
    pooled = measure != "score"
    value, seen = _grouped(own, numerator, denominator, k, pooled)
    drawn, floor = [], []
    codes = permuted_codes(panel, permutations, rng, strata)
    for start in range(0, permutations, _BLOCK):
        part, statistic = _grouped(codes[start : start + _BLOCK], numerator, denominator, k, pooled)
        drawn.append(statistic)
        floor.append(aggregate_gaps(part, aggregate).sum(axis=-1))
    every, sums = np.concatenate(drawn), np.concatenate(floor)
    plain = float(aggregate_gaps(value, aggregate)[0].sum())
    return LabelTest(
        permutation_p(float((seen[0] ** 2).sum()), (every**2).sum(axis=1)),
        permutation_p(plain, sums),
        sums,
        seen[0],
        every,
    )


def _row_sums(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds | None,
    measure: Measure,
    objects: npt.NDArray[np.intp] | None,
) -> tuple[Floats, Floats]:
    """Values and weights [S, K] of single rows in canonical order."""
    columns = np.arange(len(panel.targets)) if objects is None else objects
    window = np.ix_(panel.layout.order, columns)
    seen = scores[window]
    use = (panel.present[window] == (measure == "tpr")) & ~np.isnan(seen)
    weight = use.astype(np.float32)
    if measure == "score":
        total = np.maximum(weight.sum(axis=0, dtype=np.float64), 1)
        centre = np.where(use, seen, 0.0).sum(axis=0, dtype=np.float64) / total
        return np.where(use, seen - centre, 0.0).astype(np.float32), weight
    if thresholds is None:
        raise BadStudy("thresholds", None, f"one threshold per target for {measure!r}")
    return (use & (seen >= thresholds[columns])).astype(np.float32), weight


def _grouped(
    codes: npt.NDArray[np.int8], numerator: Floats, denominator: Floats, k: int, pooled: bool
) -> tuple[Floats, Floats]:
    """Rates [R, k, K] and studentised gaps [R, K] for rows of group codes [R, S]."""
    square = numerator if pooled else numerator * numerator
    sums, counts, squares = [], [], []
    for g in range(k):
        member = (codes == g).astype(np.float32)
        sums.append((member @ numerator).astype(np.float64))
        counts.append((member @ denominator).astype(np.float64))
        if not pooled:
            squares.append((member @ square).astype(np.float64))
    total, count = np.stack(sums, axis=1), np.maximum(np.stack(counts, axis=1), 1.0)
    value = total / count
    if pooled:
        mean = total.sum(axis=1, keepdims=True) / count.sum(axis=1, keepdims=True)
        variance = np.broadcast_to(mean * (1 - mean), value.shape)
    else:
        variance = np.stack(squares, axis=1) / count - value**2
    weight = count / np.maximum(variance, 1e-12)
    middle = (weight * value).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    return value, np.sqrt((weight * (value - middle) ** 2).sum(axis=1))


def swap_test(
    panel: Panel,
    y0: Floats,
    y1: Floats,
    thresholds: Thresholds,
    *,
    measure: Measure = "fpr",
    objects: npt.NDArray[np.intp] | None = None,
    permutations: int = 2000,
    rng: np.random.Generator,
) -> float:
    """P-value of "the two conditions give the same predictions in distribution".

    Exchanges the two conditions within a cluster; statistic is the absolute change of the sum of
    absolute gaps. It tests that predictions changed, not that bias changed: a pure threshold shift
    rejects. For "bias changed" use the intervals of `effects` or `operating_point.attributable`.
    """
    missing = np.isnan(y0) | np.isnan(y1)
    first, weight = _row_sums(panel, np.where(missing, np.nan, y0), thresholds, measure, objects)
    second, _ = _row_sums(panel, np.where(missing, np.nan, y1), thresholds, measure, objects)
    code = panel.code[panel.layout.order]
    cluster = panel.cluster_code[panel.layout.order]
    coins = rng.integers(0, 2, (permutations, panel.layout.n_clusters)).astype(np.float32)
    flips = coins[:, cluster]
    gaps = []
    for rows in (code == g for g in range(len(panel.groups))):
        count = np.maximum(weight[rows].sum(axis=0), 1)
        change = (second[rows] - first[rows]) / count
        moved = np.concatenate([np.zeros((1, change.shape[1])), flips[:, rows] @ change])
        start, end = first[rows].sum(axis=0) / count, second[rows].sum(axis=0) / count
        gaps.append(np.stack([start + moved, end - moved]))
    value = np.stack(gaps, axis=-2)  # [condition, draw, group, object]
    total = aggregate_gaps(value, "pairwise").sum(axis=-1)
    size = np.abs(total[1] - total[0])
    return permutation_p(float(size[0]), size[1:])
