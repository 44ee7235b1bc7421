"""Limits from few clusters: degrees of freedom of a standard error, and Newcombe's with clusters."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from vlbias.analysis.panel import Floats
from vlbias.analysis.rates import Rates, group_pairs

__all__ = ["clustered_newcombe", "degrees_of_freedom", "object_degrees_of_freedom"]

_PRIOR = 5.0  # events that the design effect of all objects counts for in that of one


def degrees_of_freedom(rates: Rates) -> float:
    """Of the standard error of a sum over objects, after Satterthwaite (1946).

    Each group's variance has as many degrees of freedom as it has clusters, less one; clusters of
    unequal size count as fewer. Where clusters have rows of several groups it is the fewest.
    """
    if not rates.value.shape[1]:
        return float("inf")
    own = np.median(rates.clusters, axis=1) - 1
    if rates.layout.straddles:
        return float(max(own.min(), 1.0))
    return float(_welch(rates.by_group(rates).sum(axis=1)[:, None], own[:, None])[0])


def object_degrees_of_freedom(rates: Rates) -> npt.NDArray[np.float64]:
    """[P, K] of the standard error of each gap."""
    own, variance = rates.clusters - 1, rates.by_group(rates)
    pairs = group_pairs(len(own))
    if rates.layout.straddles:
        return np.stack([np.maximum(np.minimum(own[g], own[h]), 1) for g, h in pairs])
    return np.stack([_welch(variance[[g, h]], own[[g, h]]) for g, h in pairs])


def _welch(variance: Floats, own: Floats) -> npt.NDArray[np.float64]:
    """[...] of a sum of variances [k, ...] with own degrees of freedom."""
    own = np.maximum(own, 1.0)
    bottom = (variance**2 / own).sum(axis=0)
    whole = variance.sum(axis=0) ** 2
    found = np.divide(whole, bottom, out=own.min(axis=0).astype(float), where=bottom > 0)
    return cast("npt.NDArray[np.float64]", np.maximum(found, 1.0))


def clustered_newcombe(
    rates: Rates, level: float = 0.95
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """[K] limits of the difference of two groups' rates where rows come in clusters.

    Newcombe's (1998, method 10) with Wilson limits at the effective number of rows, which is the
    number divided by the design effect, and with Student's quantile (Korn & Graubard 1998; Zou &
    Donner 2008 for clusters with rows of both groups). The design effect of an object with few
    events is drawn towards that of all objects.

    Args:
        rates: Of two groups.
        level: Coverage wanted.
    """
    reach = t.isf((1 - level) / 2, object_degrees_of_freedom(rates)[0])
    variance = rates.by_group(rates)
    size = _effective_rows(rates, variance)
    low, high = _wilson(rates.value, size, reach)
    gap = rates.value[0] - rates.value[1]
    product = np.sqrt(variance[0] * variance[1])
    shared = variance.sum(axis=0) - rates.covariance(rates)[0]  # twice the groups' covariance
    r = np.divide(shared / 2, product, out=np.zeros_like(product), where=product > 0)
    below, above = rates.value - low, high - rates.value
    return (
        np.maximum(gap - _joined(below[0], above[1], r), -1.0),
        np.minimum(gap + _joined(above[0], below[1], r), 1.0),
    )


def _effective_rows(rates: Rates, variance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[2, K]."""
    plain = rates.value * (1 - rates.value) / np.maximum(rates.count, 1)
    total = plain.sum(axis=1, keepdims=True)
    overall = np.divide(
        variance.sum(axis=1, keepdims=True), total, out=np.ones_like(total), where=total > 0
    )
    own = np.divide(variance, plain, out=np.ones_like(plain), where=plain > 0)
    events = np.minimum(rates.value, 1 - rates.value) * rates.count
    effect = (events * own + _PRIOR * overall) / (events + _PRIOR)
    rows = np.maximum(rates.count / np.maximum(effect, 1e-6), 1.0)
    return np.asarray(rows, dtype=np.float64)


def _wilson(rate: Floats, size: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Limits [2, K] of rates among so many effective rows."""
    z2 = reach**2
    centre = (rate + z2 / (2 * size)) / (1 + z2 / size)
    half = reach / (1 + z2 / size) * np.sqrt(rate * (1 - rate) / size + z2 / (4 * size**2))
    return np.minimum(centre - half, rate), np.maximum(centre + half, rate)


def _joined(first: Floats, second: Floats, r: Floats) -> Floats:
    return np.sqrt(np.maximum(first**2 + second**2 - 2 * r * first * second, 0))
