"""The cross-fit of "range" by drawn halvings: extremes from one half of images, sizes from the other.

For pairs of groups the mean over all halvings is known, see `functionals`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Panel, PanelLayout
from vlbias.analysis.rates import Measure, Thresholds

__all__ = ["cell_sums", "crossfit_halvings"]


def crossfit_halvings(
    rates_num: Floats,
    rates_den: Floats,
    layout: PanelLayout,
    *,
    halvings: int,
    rng: np.random.Generator,
) -> float:
    """Cross-fit sum of largest minus smallest rate over drawn halvings, both directions.

    Args:
        rates_num: [M, K] numerators per cell.
        rates_den: [M, K] denominators per cell.
        layout: Cells and groups; halves are balanced within groups.
        halvings: Number of random halvings.
        rng: Seeded generator.
    """
    half = _halves(layout, halvings, rng)
    first, second = [], []
    for span in layout.spans:
        num, den = rates_num[span], rates_den[span]
        a, b = half[:, span] @ num, half[:, span] @ den
        first.append(a / np.maximum(b, 1))
        rest = np.maximum(den.sum(axis=0) - b, 1)
        second.append((num.sum(axis=0) - a) / rest)
    x, y = np.stack(first, axis=1), np.stack(second, axis=1)  # [R, k, K]
    return float((_directed(x, y) + _directed(y, x)).mean() / 2)


def _halves(layout: PanelLayout, halvings: int, rng: np.random.Generator) -> Floats:
    if layout.straddles:
        flat = np.arange(layout.n_clusters) % 2
        drawn = rng.permuted(np.tile(flat, (halvings, 1)), axis=1)
        return drawn[:, layout.cluster].astype(np.float32)
    parts = [
        rng.permuted(np.tile(np.arange(s.stop - s.start) % 2, (halvings, 1)), axis=1)
        for s in layout.spans
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _directed(ends_from: Floats, size_from: Floats) -> Floats:
    """[R] sizes in one half between the groups that are the extremes in the other."""
    top, bottom = ends_from.argmax(axis=1), ends_from.argmin(axis=1)
    pick = np.take_along_axis
    gap = pick(size_from, top[:, None], 1) - pick(size_from, bottom[:, None], 1)
    total: Floats = gap[:, 0].sum(axis=-1)
    return total


def cell_sums(
    panel: Panel,
    scores: Floats,
    measure: Measure,
    thresholds: Thresholds | None,
    objects: npt.NDArray[np.intp],
) -> tuple[Floats, Floats]:
    """Sums of values and of weights per cell, [M, K'] each."""
    layout = panel.layout
    window = np.ix_(layout.order, objects)
    seen = scores[window]
    use = (panel.present[window] == (measure == "tpr")) & ~np.isnan(seen)
    if measure == "score" or thresholds is None:
        value = np.where(use, seen, 0.0)
    else:
        value = (use & (seen >= thresholds[objects])).astype(np.float64)
    return layout.cells(value.astype(np.float64)), layout.cells(use.astype(np.float64))
