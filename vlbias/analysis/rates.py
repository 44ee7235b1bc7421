"""Rates by group and object, their gaps, and each cluster's part in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Panel, PanelLayout
from vlbias.errors import BadTable

__all__ = ["Measure", "Rates", "Thresholds", "Window", "group_pairs", "measure_rates", "noise"]

Measure = Literal["fpr", "tpr", "score"]
"""What is averaged: false positives or scores over absent images, true positives over present."""

Thresholds = npt.NDArray[np.float64]


def group_pairs(k: int) -> list[tuple[int, int]]:
    """All pairs of k groups, in order; the gap of a pair is the first minus the second."""
    return list(combinations(range(k), 2))


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates of k groups for K objects with the residuals that carry their sampling error.

    Args:
        value: [k, K] numerator over denominator; 0 where the denominator is 0.
        count: [k, K] denominators.
        residual: [M, K] influence of each cell on its own group's rate; sums to 0 within a group.
        layout: Cells, groups and clusters.
        clusters: [k, K] how many cells of equal size say as much about the variance as these do.
    """

    value: npt.NDArray[np.float64]
    count: npt.NDArray[np.float64]
    residual: Floats
    layout: PanelLayout
    clusters: npt.NDArray[np.float64]

    @property
    def gap(self) -> npt.NDArray[np.float64]:
        """[P, K] difference of rates for each pair of groups."""
        gaps = [self.value[g] - self.value[h] for g, h in group_pairs(len(self.value))]
        return np.asarray(np.stack(gaps))

    def equals(self, other: Rates) -> bool:
        """Whether every image counts as it does in another arm over the same entries."""
        return np.array_equal(self.value, other.value) and np.array_equal(
            self.residual, other.residual
        )

    def covariance(self, other: Rates) -> npt.NDArray[np.float64]:
        """[P, K] covariance of this gap and another's over the same images, by pair and object."""
        own = self.by_group(other)
        pairs = group_pairs(len(self.value))
        total = np.stack([own[g] + own[h] for g, h in pairs])
        if self.layout.straddles:
            total -= np.stack([self._shared(other, g, h) for g, h in pairs])
        return total

    @property
    def spread(self) -> npt.NDArray[np.float64]:
        """[P, K] standard error of each gap."""
        # rounding may leave a variance of 0 below 0 where clusters lie in both groups
        found: npt.NDArray[np.float64] = np.sqrt(np.maximum(self.covariance(self), 0))
        return found

    def by_group(self, other: Rates) -> npt.NDArray[np.float64]:
        """[k, K] covariance of one group's rate here and in `other`."""
        spans = self.layout.spans
        return np.stack(
            [
                np.einsum("ij,ij->j", self.residual[s], other.residual[s]).astype(np.float64)
                for s in spans
            ]
        )

    def _shared(self, other: Rates, g: int, h: int) -> npt.NDArray[np.float64]:
        """[K] sum over clusters seen in both groups of the cross products."""
        a, b = self.layout.spans[g], self.layout.spans[h]
        _, i, j = np.intersect1d(
            self.layout.cluster[a], self.layout.cluster[b], return_indices=True
        )
        cross = np.einsum("ij,ij->j", self.residual[a][i], other.residual[b][j])
        cross = cross + np.einsum("ij,ij->j", self.residual[b][j], other.residual[a][i])
        return np.asarray(cross, dtype=np.float64)

    def influence(self, gradient: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """[C] each cluster's part in a linear functional of the rates.

        Args:
            gradient: [k, K] derivative of the functional with respect to the rates.
        """
        cells = np.concatenate(
            [
                self.residual[s] @ g.astype(self.residual.dtype)
                for s, g in zip(self.layout.spans, gradient, strict=True)
            ]
        )
        return np.asarray(
            np.bincount(self.layout.cluster, cells, self.layout.n_clusters), dtype=np.float64
        )


def noise(many: Sequence[Rates], weights: Floats) -> list[Floats]:
    """[D, P, K] draws of the sampling error of the gaps of each of several arms.

    One product for all arms is nearly twice as fast as one each.

    Args:
        many: Rates over the same panel.
        weights: [D, B] mean-zero weights per part; see `inference.multipliers`.
    """
    edges = np.cumsum([rates.residual.shape[1] for rates in many])[:-1]
    bags = many[0].layout.bags
    spans, sums = bags.spans, [bags.sums(rates.residual) for rates in many]
    parts = [
        np.split(weights[:, s] @ np.hstack([r[s] for r in sums]), edges, axis=1) for s in spans
    ]
    pairs = group_pairs(len(spans))
    return [
        np.stack([parts[g][i] - parts[h][i] for g, h in pairs], axis=1) for i in range(len(many))
    ]


@dataclass(frozen=True, eq=False)
class Window:
    """Which entries count and in which order: fixed once, then applied to arm after arm.

    Args:
        layout: Cells and groups.
        measure: What is averaged.
        columns: Objects used.
        use: [S, K'] sorted rows; which entries are in the denominator.
        denominator: [M, K'] how many per cell.
        count: [k, K'] how many per group.
        cells: [k, K'] how many cells per group have any.
        clusters: [k, K'] the same, where cells of unequal size count as fewer: (sum D^2)^2 / sum D^4
            for D entries in a cell, which is what a variance estimated from them is worth when rows of
            a cell are alike (Satterthwaite).
    """

    layout: PanelLayout
    measure: Measure
    columns: npt.NDArray[np.intp]
    use: npt.NDArray[np.bool_]
    denominator: Floats
    count: npt.NDArray[np.float64]
    cells: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        panel: Panel,
        measure: Measure,
        valid: npt.NDArray[np.bool_],
        objects: npt.NDArray[np.intp] | None = None,
    ) -> Window:
        """The window of the valid entries [S, K] of some objects."""
        columns = np.arange(len(panel.targets)) if objects is None else objects
        layout = panel.layout
        own = panel.present if measure == "tpr" else ~panel.present
        use = (own & valid).take(layout.order, axis=0)[:, columns]
        cells = layout.cells(use.astype(np.float32))
        count = np.stack([cells[s].sum(axis=0, dtype=np.float64) for s in layout.spans])
        seen = np.stack([(cells[s] > 0).sum(axis=0) for s in layout.spans]).astype(np.float64)
        worth = seen if layout.is_flat else _worth(cells, layout)
        return cls(layout, measure, columns, use, cells, count, seen, worth)

    def _sorted(self, scores: Floats) -> Floats:
        rows = scores.take(self.layout.order, axis=0)
        return rows if len(self.columns) == scores.shape[1] else rows[:, self.columns]

    def rates(self, scores: Floats, thresholds: Thresholds | None = None) -> Rates:
        """Rates of one arm [S, K].

        Raises:
            BadTable: if a threshold is needed and missing, or its shape is not [K].
        """
        seen = self._sorted(scores)
        if self.measure == "score":
            # centring per object keeps single precision from losing the differences
            masked = np.where(self.use, seen, seen.dtype.type(0))
            total = masked.sum(axis=0, dtype=np.float64)
            centre = (total / np.maximum(self.count.sum(axis=0), 1)).astype(seen.dtype)
            masked -= centre * self.use
            rates = self._rates(self.layout.cells(masked), np.float64)
            value = np.where(self.count > 0, rates.value + centre, 0.0)
            return replace(rates, value=value)
        if thresholds is None or np.shape(thresholds) != (scores.shape[1],):
            raise BadTable(
                f"{self.measure} needs one threshold per target ({scores.shape[1]}), got "
                f"{None if thresholds is None else np.shape(thresholds)}; see operating_point.calibrate"
            )
        hit = seen >= thresholds[self.columns].astype(seen.dtype)
        hit &= self.use
        # counts below 2^24 are exact in single precision
        return self._rates(self.layout.cells(hit.astype(np.float32)), np.float32)

    def _rates(self, numerator: Floats, accumulate: type[np.floating[Any]]) -> Rates:
        value = np.zeros_like(self.count)
        residual = np.empty_like(numerator)
        for g, span in enumerate(self.layout.spans):
            total = numerator[span].sum(axis=0, dtype=accumulate).astype(np.float64)
            count = self.count[g]
            value[g] = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
            # sqrt(n / (n - 1)) makes the squared residuals an unbiased variance
            n = np.maximum(self.cells[g], 2)
            scale = np.sqrt(n / (n - 1)) / np.maximum(count, 1)
            part = residual[span]
            np.multiply(self.denominator[span], -value[g].astype(numerator.dtype), out=part)
            part += numerator[span]
            part *= scale.astype(numerator.dtype)
        return Rates(value, self.count, residual, self.layout, self.clusters)


def _worth(cells: Floats, layout: PanelLayout) -> npt.NDArray[np.float64]:
    square = cells.astype(np.float64) ** 2
    total = np.stack([square[s].sum(axis=0) for s in layout.spans])
    fourth = np.stack([(square[s] ** 2).sum(axis=0) for s in layout.spans])
    worth = np.divide(total**2, fourth, out=np.zeros_like(total), where=fourth > 0)
    return np.asarray(worth, dtype=np.float64)


def measure_rates(
    panel: Panel,
    scores: Floats,
    measure: Measure,
    thresholds: Thresholds | None = None,
    *,
    objects: npt.NDArray[np.intp] | None = None,
) -> Rates:
    """Rates of one arm: false positives, true positives or mean scores by group and object.

    Args:
        panel: Images, groups, presence.
        scores: [S, K] presence scores; NaN is left out.
        measure: "fpr" and "score" over images without the object, "tpr" over those with it.
        thresholds: [K], needed by "fpr" and "tpr"; a score at or above it says "present".
        objects: Columns to use; all if not given.

    Raises:
        BadTable: if a threshold is needed and missing, or its shape is not [K].
    """
    return Window.of(panel, measure, ~np.isnan(scores), objects).rates(scores, thresholds)
