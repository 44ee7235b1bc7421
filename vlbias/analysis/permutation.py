"""Permutation engines: group labels between images, and two conditions within an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlbias.analysis.inference import permutation_p
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, group_pairs
from vlbias.errors import BadStudy

__all__ = [
    "Aggregate",
    "aggregate_gaps",
    "permuted_codes",
    "permuted_units",
    "permuted_within",
    "row_sums",
    "swap_test",
]

Aggregate = Literal["pairwise", "range"]
"""How k group rates of one object become one gap: mean over pairs, or largest minus smallest."""


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
    _, codes, unit = permuted_units(panel, draws, rng, strata)
    return codes[:, unit]


def permuted_units(
    panel: Panel,
    draws: int,
    rng: np.random.Generator,
    strata: npt.ArrayLike | None = None,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8], npt.NDArray[np.intp]]:
    """What exchanges labels: whole clusters, or single rows of clusters that hold several groups.

    Args:
        panel: Images, groups, clusters.
        draws: Number R of permutations.
        rng: Seeded generator.
        strata: [S] labels within which units are exchangeable.

    Returns:
        The units' own group codes [U]; permuted ones [R, U]; and the unit of each row [S], rows in
        canonical order.

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
    own = code[head].astype(np.int8)
    units = np.empty((draws, len(head)), dtype=np.int8)
    for label in np.unique(block[head]):
        columns = np.flatnonzero(block[head] == label)
        start = np.broadcast_to(own[columns], (draws, len(columns)))
        units[:, columns] = rng.permuted(start, axis=1)
    return own, units, np.asarray(back, dtype=np.intp)


def permuted_within(
    panel: Panel, draws: int, rng: np.random.Generator
) -> Callable[[npt.NDArray[np.intp], npt.NDArray[np.bool_], slice], npt.NDArray[np.int8]]:
    """Labels permuted among images that show an object and among those that do not.

    One random order of clusters serves all objects, so that their dependence is kept; within each
    part of the images, each group gets as many rows as it has, in that order.

    Returns:
        A function of the rows used [n] (canonical order), whether each shows the object [n], and a
        slice of 1 + R labellings, the first being the given one; gives codes [., n].
    """
    code = panel.code[panel.layout.order].astype(np.int8)
    cluster = panel.cluster_code[panel.layout.order]
    order = np.empty((draws, len(code)), np.int32)
    for row, place in zip(
        order, rng.random((draws, panel.layout.n_clusters), dtype=np.float32), strict=True
    ):
        row[:] = np.argsort(place[cluster], kind="stable")

    def codes(
        rows: npt.NDArray[np.intp], shows: npt.NDArray[np.bool_], part: slice
    ) -> npt.NDArray[np.int8]:
        wanted = range(draws + 1)[part]
        drawn = order[[i - 1 for i in wanted if i]]
        found = np.empty((len(drawn), len(code)), np.int8)
        for flag in (False, True):
            member = np.zeros(len(code), bool)
            member[rows[shows == flag]] = True
            chosen = drawn[member[drawn]].reshape(len(drawn), int(member.sum()))
            labels = np.sort(code[member])
            np.put_along_axis(found, chosen, np.broadcast_to(labels, chosen.shape), axis=1)
        given = code[None] if wanted and wanted[0] == 0 else code[None][:0]
        return np.concatenate([given, found])[:, rows]

    return codes


def row_sums(
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
    first, weight = row_sums(panel, np.where(missing, np.nan, y0), thresholds, measure, objects)
    second, _ = row_sums(panel, np.where(missing, np.nan, y1), thresholds, measure, objects)
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
