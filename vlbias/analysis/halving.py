"""The cross-fit by drawn halvings: signs from one half of the images, sizes from the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Layout, Panel
from vlbias.analysis.permutation import Aggregate
from vlbias.analysis.rates import Measure, Thresholds, group_pairs

__all__ = ["cell_sums", "crossfit_halvings"]


def crossfit_halvings(
    rates_num: Floats,
    rates_den: Floats,
    layout: Layout,
    *,
    aggregate: Aggregate = "pairwise",
    halvings: int = 50,
    rng: np.random.Generator,
) -> float:
    """Cross-fit sum of gaps over drawn halvings, both directions.

    Args:
        rates_num: [M, K] numerators per cell.
        rates_den: [M, K] denominators per cell.
        layout: Cells and groups; halves are balanced within groups.
        aggregate: How k groups become one gap.
        halvings: Number of random halvings, at least 50 advised.
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
    forth, back = _directed(x, y, aggregate), _directed(y, x, aggregate)
    return float((forth + back).mean() / 2)


def _halves(layout: Layout, halvings: int, rng: np.random.Generator) -> Floats:
    if layout.straddles:
        flat = np.arange(layout.n_clusters) % 2
        drawn = rng.permuted(np.tile(flat, (halvings, 1)), axis=1)
        return drawn[:, layout.cluster].astype(np.float32)
    parts = [
        rng.permuted(np.tile(np.arange(s.stop - s.start) % 2, (halvings, 1)), axis=1)
        for s in layout.spans
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _directed(sign_from: Floats, size_from: Floats, aggregate: Aggregate) -> Floats:
    """[R] gaps of one half in the direction that the other half names."""
    if aggregate == "range":
        top, bottom = sign_from.argmax(axis=1), sign_from.argmin(axis=1)
        pick = np.take_along_axis
        gap = pick(size_from, top[:, None], 1) - pick(size_from, bottom[:, None], 1)
        total: Floats = gap[:, 0].sum(axis=-1)
        return total
    pairs = group_pairs(sign_from.shape[1])
    parts = [
        np.sign(sign_from[:, g] - sign_from[:, h]) * (size_from[:, g] - size_from[:, h])
        for g, h in pairs
    ]
    total = np.mean(parts, axis=0).sum(axis=-1)
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
