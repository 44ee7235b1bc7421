"""Calibration of probabilities by group."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.errors import BadTable

__all__ = ["calibration_gap"]


def calibration_gap(
    probability: npt.ArrayLike, true: npt.ArrayLike, groups: npt.ArrayLike, *, bins: int = 10
) -> pd.DataFrame:
    """How far probabilities are from frequencies, by group, with the gap to the first group.

    Args:
        probability: [n] in 0..1.
        true: [n] bool.
        groups: [n].
        bins: Of equal size, common to all groups.

    Returns:
        Columns group, n, in_the_large (mean probability minus frequency; unbiased), ece (expected
        calibration error, biased upward in small groups), brier, and gap_in_the_large.
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(true, dtype=np.float64)
    labels = np.asarray(groups, dtype=str)
    if ((p < 0) | (p > 1)).any():
        raise BadTable("probabilities must lie in 0..1; calibrate scores first")
    edges = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1])
    cell = np.searchsorted(edges, p, side="right")
    rows = []
    for name in np.unique(labels):
        own = labels == name
        off = np.abs(np.bincount(cell[own], p[own] - y[own], bins)).sum() / own.sum()
        large, brier = float((p - y)[own].mean()), float(((p - y)[own] ** 2).mean())
        rows.append((str(name), int(own.sum()), large, float(off), brier))
    found = pd.DataFrame(rows, columns=["group", "n", "in_the_large", "ece", "brier"])
    return found.assign(gap_in_the_large=found["in_the_large"] - found["in_the_large"].iloc[0])
