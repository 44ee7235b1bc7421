"""Summaries of log ratios over clusters, each with the limits that cover it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vlbias.analysis.inference import Interval, bootstrap_t, p_value, student

__all__ = ["LogRatios"]

Values = npt.NDArray[np.float64]

_NONE = Interval(np.nan, np.nan, np.nan, np.nan, np.nan)
_SKEWED = 1.2
"""Standard deviation of logarithms beyond which limits of a mean of ratios do not cover."""


@dataclass(frozen=True)
class LogRatios:
    """Log-odds of two arms and how their samples cluster.

    Args:
        after: [N] of the one.
        before: [N] of the other.
        code: [N] cluster of each sample.
        weights: [D, C] how often each cluster is drawn.
        level: Of the limits.
    """

    after: Values
    before: Values
    code: npt.NDArray[np.intp]
    weights: Values
    level: float

    def summaries(self, medians: bool) -> dict[str, Interval]:
        """Mean, median and geometric mean of the ratio minus 1, mean log ratio, mean difference.

        Args:
            medians: Whether to give the median, whose resampling takes longest.
        """
        names = ("mean", *(("median",) if medians else ()), "geometric", "log", "difference")
        if not len(self.after):
            return dict.fromkeys(names, _NONE)
        change = self.after - self.before
        ratio = np.expm1(change)
        log = self._plain(change)
        found = {"mean": self._mean(ratio, np.std(change)), "log": log}
        ends = np.expm1([log.estimate, log.lo, log.hi])
        found["geometric"] = Interval(ends[0], np.nan, ends[1], ends[2], log.p)
        # the larger of the two odds rules the difference
        heavy = np.std(np.maximum(self.after, self.before))
        found["difference"] = self._mean(np.exp(self.after) - np.exp(self.before), heavy)
        if medians:
            found["median"] = self._median(ratio)
        return {name: found[name] for name in names}

    def _sums(self, values: Values) -> tuple[Values, npt.NDArray[np.intp]]:
        """[C] sums and counts of the clusters that have samples; others are no data."""
        clusters = self.weights.shape[1]
        total = np.bincount(self.code, np.asarray(values, np.float64), clusters).astype(np.float64)
        return total, np.bincount(self.code, minlength=clusters)

    def _plain(self, values: Values) -> Interval:
        total, count = self._sums(values)
        return student(total, count, self.level)

    def _mean(self, values: Values, skew: np.floating) -> Interval:
        total, count = self._sums(values)
        if skew > _SKEWED:
            return replace(_NONE, estimate=float(values.mean()))
        return bootstrap_t(total, count, self.weights, self.level)

    def _median(self, values: Values) -> Interval:
        estimate = float(np.median(values))
        if len(np.unique(self.code)) < 2:  # what is drawn is always the same: that is no certainty
            return Interval(estimate, np.inf, -np.inf, np.inf, 1.0)
        order = np.argsort(values)
        ordered, drawn = values[order], np.empty(len(self.weights))
        for row, weight in enumerate(self.weights):
            reached = np.cumsum(weight[self.code[order]])
            if reached[-1] == 0:
                drawn[row] = np.nan
                continue
            # the middle of the two values in the middle, as the median of the drawn samples is
            first = np.searchsorted(reached, reached[-1] / 2)
            second = np.searchsorted(reached, reached[-1] / 2, side="right")
            drawn[row] = (ordered[first] + ordered[second]) / 2
        if np.isnan(drawn).all():
            return Interval(estimate, np.inf, -np.inf, np.inf, 1.0)
        tail = (1 - self.level) / 2
        lo, hi = np.nanquantile(drawn, [tail, 1 - tail])
        se = float(np.nanstd(drawn))
        return Interval(estimate, se, float(lo), float(hi), p_value(estimate, se))
