"""Areas under the curve of many labellings at once, with ties and clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats

__all__ = ["Areas", "RankedScores"]

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Areas:
    """P(score of one set > score of another), ties counting half, under R labellings.

    Args:
        value: [R]; NaN where one of the sets is empty.
        influence: [R, n] each row's part in it, in the order of the scores given: sums to 0 within a
            set, and its squares, summed over clusters, estimate the variance.
    """

    value: npt.NDArray[np.float64]
    influence: Floats


class RankedScores:
    """Scores of one object, ranked once."""

    def __init__(self, values: Floats) -> None:
        self.order = np.argsort(values, kind="stable")
        ranked = values[self.order]
        self.start = np.searchsorted(ranked, ranked, side="left")
        self.end = np.searchsorted(ranked, ranked, side="right")

    def areas(self, first: Flags, second: Flags) -> Areas:
        """The area of one set of rows against another, with DeLong's variance.

        DeLong, DeLong & Clarke-Pearson (Biometrics 1988), eq. 3; with clusters summed as Obuchowski
        (Biometrics 1997).

        Args:
            first: [R, n] which rows are of the set that should score higher.
            second: [R, n] which are of the other set.
        """
        one, other = first[:, self.order], second[:, self.order]
        wins, losses = self._placed(one, other), 1 - self._placed(other, one)
        n, m = one.sum(axis=1), other.sum(axis=1)
        value = np.divide(
            (one * wins).sum(axis=1), n, out=np.full(len(n), np.nan), where=(n > 0) & (m > 0)
        )
        part = one * _scaled(wins - value[:, None], n) + other * _scaled(losses - value[:, None], m)
        influence = np.empty_like(part)
        influence[:, self.order] = np.nan_to_num(part)
        return Areas(value, influence)

    def _placed(self, one: Flags, other: Flags) -> Floats:
        """[R, n] share of the other set below each row, ties half."""
        below = np.zeros((len(other), other.shape[1] + 1), np.int32)
        np.cumsum(other, axis=1, out=below[:, 1:])
        count = np.maximum(below[:, -1:], 1)
        placed: Floats = (below[:, self.start] + below[:, self.end]) / (2.0 * count)
        return placed


def _scaled(part: Floats, count: npt.NDArray[np.int_]) -> Floats:
    """Parts in a mean, so that their squares sum to its unbiased variance."""
    n = np.maximum(count, 2)[:, None]
    scaled: Floats = part / np.maximum(count, 1)[:, None] * np.sqrt(n / (n - 1))
    return scaled
