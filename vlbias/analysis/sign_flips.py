"""The max-statistic sign-flip test: which of many means are above 0, with family-wise error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlbias.analysis.inference import rounded_down
from vlbias.analysis.panel import Floats
from vlbias.errors import BadStudy

__all__ = ["SignFlipTest", "sign_flip_test"]

_BLOCK = 500  # draws held at once


@dataclass(frozen=True, eq=False)
class SignFlipTest:
    """Means of K quantities and which of them are significant.

    Args:
        mean: [K] over all rows.
        threshold: Quantile of the largest mean under flipped signs.
        p: [K] adjusted for all K, (1 + draws whose largest mean is at least as large) / (1 + draws).
        significant: [K] whether the mean is above the threshold.
    """

    mean: Floats
    threshold: float
    p: Floats
    significant: npt.NDArray[np.bool_]


def sign_flip_test(
    scores: Floats,
    clusters: npt.ArrayLike,
    *,
    draws: int = 5000,
    level: float = 0.95,
    rng: np.random.Generator,
) -> SignFlipTest:
    """The test of Yang et al. (2025, as in their code): one sign a prompt, the largest mean of all heads.

    Signs are drawn for clusters: under the hypothesis, all scores of a cluster are symmetric around 0
    together. One-sided: only means above 0 can be significant.

    Args:
        scores: [N, K] one row a prompt.
        clusters: [N] what the rows are of; rows of one cluster share a sign.
        draws: Number of draws.
        level: One minus the family-wise error.
        rng: Seeded generator.

    Raises:
        BadStudy: if there is no row, or a score that is no number.
    """
    if not len(scores):
        raise BadStudy("scores", f"{len(scores)} rows", "one or more: there is nothing to test")
    if not np.isfinite(scores).all():
        raise BadStudy("scores", "NaN or infinite", "finite numbers only")
    names, code = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((len(names), scores.shape[1]))
    np.add.at(sums, code, scores)
    sums /= len(scores)
    largest = []
    for start in range(0, draws, _BLOCK):
        signs = rng.choice([-1.0, 1.0], size=(min(_BLOCK, draws - start), len(names)))
        largest.append((signs @ sums).max(axis=1))
    drawn, mean = np.concatenate(largest), sums.sum(axis=0)
    threshold = float(np.quantile(drawn, level))
    reached = np.sort(drawn)
    above = len(drawn) - np.searchsorted(reached, rounded_down(mean), side="left")
    return SignFlipTest(mean, threshold, (1 + above) / (1 + len(drawn)), mean > threshold)
