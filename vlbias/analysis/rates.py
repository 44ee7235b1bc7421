"""Rates by group and object, their gaps, and each cluster's part in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Layout, Panel
from vlbias.errors import BadTable

__all__ = ["Measure", "Rates", "Thresholds", "group_pairs", "make_rates", "measure_rates"]

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
    """

    value: npt.NDArray[np.float64]
    count: npt.NDArray[np.float64]
    residual: Floats
    layout: Layout

    @property
    def gap(self) -> npt.NDArray[np.float64]:
        """[P, K] difference of rates for each pair of groups."""
        return np.stack([self.value[g] - self.value[h] for g, h in group_pairs(len(self.value))])

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
        found: npt.NDArray[np.float64] = np.sqrt(self.covariance(self))
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
        return cross.astype(np.float64)

    def noise(self, weights: Floats) -> Floats:
        """[D, P, K] draws of the sampling error of the gaps.

        Args:
            weights: [D, M] mean-zero weights per cell, the same for all arms compared; see
                `inference.multipliers`.
        """
        parts = [weights[:, s] @ self.residual[s] for s in self.layout.spans]
        return np.stack([parts[g] - parts[h] for g, h in group_pairs(len(parts))], axis=1)

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


def make_rates(layout: Layout, numerator: Floats, denominator: Floats) -> Rates:
    """Rates from sums over cells.

    Args:
        layout: Cells and groups.
        numerator: [M, K] sums of values.
        denominator: [M, K] sums of weights.
    """
    value = np.zeros((len(layout.spans), numerator.shape[1]))
    count = np.zeros_like(value)
    residual = np.empty_like(numerator)
    for g, span in enumerate(layout.spans):
        total = numerator[span].sum(axis=0, dtype=np.float64)
        count[g] = denominator[span].sum(axis=0, dtype=np.float64)
        safe = np.maximum(count[g], np.finfo(np.float64).tiny)
        value[g] = np.where(count[g] > 0, total / safe, 0.0)
        n = max(span.stop - span.start, 2)
        # sqrt(n / (n - 1)) makes the squared residuals an unbiased variance
        scale = np.where(count[g] > 0, np.sqrt(n / (n - 1)) / safe, 0.0)
        residual[span] = numerator[span] - denominator[span] * value[g].astype(numerator.dtype)
        residual[span] *= scale.astype(numerator.dtype)
    return Rates(value, count, residual, layout)


def measure_rates(
    panel: Panel,
    scores: Floats,
    measure: Measure,
    thresholds: Thresholds | None = None,
    *,
    objects: npt.NDArray[np.intp] | None = None,
    valid: npt.NDArray[np.bool_] | None = None,
) -> Rates:
    """Rates of one arm: false positives, true positives or mean scores by group and object.

    Args:
        panel: Images, groups, presence.
        scores: [S, K] presence scores; NaN is left out.
        measure: "fpr" and "score" over images without the object, "tpr" over those with it.
        thresholds: [K], needed by "fpr" and "tpr"; a score at or above it says "present".
        objects: Columns to use; all if not given.
        valid: [S, K] further restriction, so that arms are compared on the same rows.

    Raises:
        BadTable: if a threshold is needed and missing, or its shape is not [K].
    """
    columns = np.arange(len(panel.targets)) if objects is None else objects
    layout = panel.layout
    window = np.ix_(layout.order, columns)
    seen = scores[window]
    use = panel.present[window] if measure == "tpr" else ~panel.present[window]
    use &= ~np.isnan(seen)
    if valid is not None:
        use &= valid[window]
    if measure == "score":
        # centring per object keeps single precision from losing the differences
        total = np.where(use, seen, 0).sum(axis=0, dtype=np.float64)
        centre = (total / np.maximum(use.sum(axis=0), 1)).astype(seen.dtype)
        centred = np.where(use, seen - centre, seen.dtype.type(0))
        rates = make_rates(layout, layout.cells(centred), _cells(layout, use, seen))
        value = np.where(rates.count > 0, rates.value + centre, 0.0)
        return Rates(value, rates.count, rates.residual, layout)
    if thresholds is None or np.shape(thresholds) != (len(panel.targets),):
        raise BadTable(
            f"{measure} needs one threshold per target ({len(panel.targets)}), got "
            f"{None if thresholds is None else np.shape(thresholds)}; see operating.calibrate"
        )
    hit = use & (seen >= thresholds[columns])
    return make_rates(layout, _cells(layout, hit, seen), _cells(layout, use, seen))


def _cells(layout: Layout, flags: npt.NDArray[np.bool_], like: Floats) -> Floats:
    return layout.cells(flags.astype(like.dtype))
