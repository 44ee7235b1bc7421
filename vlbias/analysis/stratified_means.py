"""Sums over groups of the group's mean, for many quantities at once, with standard errors over clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["StratifiedMean", "stratified_mean"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class StratifiedMean:
    """The sum over strata of the mean in each, of K quantities.

    Args:
        estimate: [K]; NaN where a stratum has fewer than two rows.
        se: [K] over clusters.
        df: [K] of the standard error, after Satterthwaite.
        influence: [C, K] part of each cluster in the estimate's error, to first order.
        rows: [K] rows with a value.
    """

    estimate: Floats
    se: Floats
    df: Floats
    influence: Floats
    rows: Codes


def stratified_mean(
    values: Floats, stratum: Codes, cluster: Codes, strata: int | None = None
) -> StratifiedMean:
    """See `StratifiedMean`.

    Args:
        values: [N, K]; NaN where a row has no value.
        stratum: [N] codes from 0.
        cluster: [N] codes from 0: rows that depend on each other.
        strata: How many there are; as many as have rows if not given.
    """
    known = ~np.isnan(values)
    clusters = int(cluster.max()) + 1 if len(cluster) else 0
    influence = np.zeros((clusters, values.shape[1]))
    estimate, spread = np.zeros((2, values.shape[1]))
    for code in range(int(stratum.max()) + 1 if strata is None else strata):
        here = stratum == code
        count = known[here].sum(axis=0)
        few = count < 2
        count = np.maximum(count, 1)
        mean = np.where(known[here], values[here], 0.0).sum(axis=0) / count
        part = np.zeros_like(influence)
        np.add.at(part, cluster[here], np.where(known[here], values[here] - mean, 0.0) / count)
        influence += part
        estimate += np.where(few, np.nan, mean)
        owners = np.zeros((clusters, values.shape[1]), bool)
        np.logical_or.at(owners, cluster[here], known[here])
        spread += (part**2).sum(axis=0) ** 2 / np.maximum(owners.sum(axis=0) - 1, 1)
    variance = (influence**2).sum(axis=0)
    df = np.where(spread > 0, variance**2 / np.where(spread > 0, spread, 1), np.inf)
    seen = np.maximum((influence != 0).any(axis=1).sum(), 2)
    se = np.sqrt(variance * seen / (seen - 1))
    return StratifiedMean(estimate, se, np.maximum(df, 1.0), influence, known.sum(axis=0))
