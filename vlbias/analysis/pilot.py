"""What a pilot run says about a larger one: rates, and how photos, objects and conditions go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Rates, Thresholds, measure_rates

__all__ = ["Pilot", "pilot", "thresholded_correlation"]

_ALWAYS = 0.99


@dataclass(frozen=True, eq=False)
class Pilot:
    """Measured on the null world of a run.

    Args:
        rates: [K] false-positive rates over all groups of the objects that have any.
        ratio: Share of the largest group.
        correlation: Of two objects' scores on the same photo, on the scale of the scores
            (tetrachoric), in root mean square.
        agreement: Of the false positives of two conditions on the same photo; NaN with one condition.
        design_effect: Variance of a rate over that of as many independent photos.
    """

    rates: npt.NDArray[np.float64]
    ratio: float
    correlation: float
    agreement: float
    design_effect: float


def pilot(panel: Panel, null: Floats, thresholds: Thresholds, other: Floats | None = None) -> Pilot:
    """Measures what `power.power` has to assume.

    Args:
        panel: Photos of the pilot run.
        null: [S, K] scores without intervention.
        thresholds: [K].
        other: [S, K] scores of another world, for the agreement of two conditions.
    """
    first = measure_rates(panel, null, "fpr", thresholds)
    hits = (first.value * first.count).sum(axis=0)
    kept = np.flatnonzero((hits >= 5) & (first.count > 0).all(axis=0))
    first = measure_rates(panel, null, "fpr", thresholds, objects=kept)
    rates = hits[kept] / first.count.sum(axis=0)
    agreement = float("nan")
    if other is not None:
        missing = np.isnan(other) | np.isnan(null)
        pair = [
            measure_rates(panel, np.where(missing, np.nan, y), "fpr", thresholds, objects=kept)
            for y in (null, other)
        ]
        agreement = _agreement(*pair)
    sizes = np.bincount(panel.code, minlength=len(panel.groups))
    plain = (first.value * (1 - first.value) / np.maximum(first.count, 1)).sum()
    return Pilot(
        rates,
        float(sizes.max() / sizes.sum()),
        _latent(_root_mean_square(first), rates),
        agreement,
        float(first.by_group(first).sum() / plain) if plain > 0 else 1.0,
    )


def thresholded_correlation(latent: float, rate: float) -> float:
    """Correlation of two events of this rate whose normal scores have this correlation."""
    limit = float(ndtri(rate))
    both = multivariate_normal.cdf([limit, limit], cov=[[1.0, latent], [latent, 1.0]])
    return float((both - rate**2) / (rate * (1 - rate)))


def _root_mean_square(rates: Rates) -> float:
    """Of the correlations of two objects' false positives, less what chance gives."""
    part = rates.residual.astype(np.float64)
    product = part.T @ part
    size = np.sqrt(np.diag(product))
    k = len(size)
    if k < 2:
        return 0.0
    r = product / np.maximum(size[:, None] * size[None], 1e-300)
    square = (float((r**2).sum()) - k) / (k * (k - 1))
    return float(np.sqrt(max(square - 1 / rates.layout.n_clusters, 0.0)))


def _latent(correlation: float, rates: npt.NDArray[np.float64]) -> float:
    """The correlation of scores that gives events of these rates that correlation."""
    middle = float(np.median(rates)) if len(rates) else 0.5
    if correlation <= 0:
        return 0.0
    if correlation >= thresholded_correlation(_ALWAYS, middle):
        return _ALWAYS
    return float(
        brentq(lambda r: thresholded_correlation(r, middle) - correlation, 0.0, _ALWAYS, xtol=1e-4)
    )


def _agreement(first: Rates, second: Rates) -> float:
    own, other = first.by_group(first).sum(axis=0), second.by_group(second).sum(axis=0)
    size = np.sqrt(own * other)
    there = size > 0
    if not there.any():
        return float("nan")
    shared = first.by_group(second).sum(axis=0)
    return float((shared[there] / size[there]).mean())
