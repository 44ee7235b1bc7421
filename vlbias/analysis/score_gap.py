"""The score gap as one linear functional of the scores: free of thresholds, and so with a slope everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.functionals import certainty

__all__ = ["score_gap_weights"]

Floats = NDArray[np.float64]


def score_gap_weights(
    scores: Floats, present: NDArray[np.bool_], group: NDArray[np.str_]
) -> Floats:
    """Weights W by which sum(W * scores) is the sum of the score gaps in the direction they have.

    A gap is the mean score in one group minus that in the other, over samples without the object. It counts
    by the certainty of its sign. With more than two groups it is between those of highest and lowest mean.

    Args:
        scores: [S, K] of the unchanged model; NaN is left out.
        present: [S, K] whether the object is there.
        group: [S] labels.

    Returns:
        [S, K]; 0 for an object that a group has no two samples without.
    """
    free = ~present & ~np.isnan(scores)
    members = np.array([group == name for name in np.unique(group)])
    counts = members.astype(float) @ free
    known = np.where(free, scores, 0.0)
    safe = np.maximum(counts, 2.0)
    mean = members @ known / safe
    variance = np.maximum(members @ known**2 / safe - mean**2, 0.0) / (safe - 1)
    every = np.arange(scores.shape[1])
    high, low = mean.argmax(axis=0), mean.argmin(axis=0)
    gap = mean[high, every] - mean[low, every]
    sure = certainty(gap, np.sqrt(variance[high, every] + variance[low, every]))
    sure = np.where((counts.min(axis=0) >= 2) & (high != low), sure, 0.0)
    weights = members[high, :].T / safe[high, every] - members[low, :].T / safe[low, every]
    return np.asarray(weights * free * sure)
