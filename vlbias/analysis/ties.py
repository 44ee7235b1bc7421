"""Expectations over the order of equal scores: a ranking that depends on the order of rows is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, hypergeom

__all__ = ["TopGroups", "expected_share_logs"]

Labels = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class TopGroups:
    """Who is among the top k: some for certain, the rest drawn at random from those tied at the edge.

    Args:
        certain: [c] labels above the edge.
        tied: [t] labels at the edge.
        drawn: How many of them are shown; k - c.
    """

    certain: Labels
    tied: Labels
    drawn: int

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], labels: Labels, k: int) -> TopGroups:
        """The top k of some scores."""
        edge = np.partition(values, len(values) - k)[len(values) - k]
        above, at = values > edge, values == edge
        return cls(labels[above], labels[at], k - int(above.sum()))

    def contrast(self, pair: tuple[str, str]) -> float:
        """Expected (first - second) / (first + second), 0 where neither is there."""
        a, b = (int((self.certain == name).sum()) for name in pair)
        ties = [int((self.tied == name).sum()) for name in pair]
        both = sum(ties)
        more = np.arange(min(self.drawn, both) + 1)
        chance = hypergeom.pmf(more, len(self.tied), both, self.drawn)
        # of so many of the two groups, each has its share of the tied on average
        lean = (ties[0] - ties[1]) / both if both else 0.0
        total = np.maximum(a + b + more, 1)
        return float((chance * (a - b + more * lean) / total).sum())

    def largest_log_ratio(self, shares: Mapping[str, float]) -> float:
        """Expected largest log of a group's share among the top k over the share given.

        The numbers drawn of each group are binomial given their sum, so that the chance that all stay
        below a bound is a convolution of cut binomials.
        """
        k = len(self.certain) + self.drawn
        more = np.arange(self.drawn + 1)
        chance = self.drawn / max(len(self.tied), 1)
        masses, logs = [], []
        for name, share in shares.items():
            seen = int((self.certain == name).sum()) + more
            with np.errstate(divide="ignore"):
                logs.append(np.log(seen / k / share))
            masses.append(binom.pmf(more, int((self.tied == name).sum()), chance))
        others = int((~np.isin(self.tied, list(shares))).sum())
        rest = binom.pmf(more, others, chance)
        bounds = np.unique(np.concatenate(logs))
        bounds = bounds[np.isfinite(bounds)]
        below = np.array([self._all_below(b, masses, logs, rest) for b in bounds])
        return float((bounds * np.diff(below / below[-1], prepend=0.0)).sum())

    def _all_below(
        self,
        bound: float,
        masses: list[npt.NDArray[np.float64]],
        logs: list[npt.NDArray[np.float64]],
        rest: npt.NDArray[np.float64],
    ) -> float:
        total = rest
        for mass, log in zip(masses, logs, strict=True):
            total = np.convolve(total, np.where(log <= bound, mass, 0.0))[: self.drawn + 1]
        return float(total[self.drawn])


def expected_share_logs(
    values: npt.NDArray[np.float64], labels: Labels, name: str, share: float
) -> npt.NDArray[np.float64]:
    """[n] expected q log(q / share) of a group's share q among the top i, for every i.

    Args:
        values: [n] scores.
        labels: [n].
        name: Of the group.
        share: Wanted.
    """
    order = np.argsort(-values, kind="stable")
    ranked, own = values[order], labels[order] == name
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ends = np.r_[starts[1:], len(values)]
    before = np.r_[0, np.cumsum(own)]
    found = np.empty(len(values))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        size, there = end - start, int(before[end] - before[start])
        for place in range(start, end):
            drawn = place - start + 1
            least: int = max(0, drawn - size + there)
            most: int = min(drawn, there)
            more = np.arange(least, most + 1)
            chance = hypergeom.pmf(more, size, there, drawn) if size > 1 else np.ones(1)
            q = (before[start] + more) / (place + 1)
            safe = np.where(q > 0, q, 1.0)
            found[place] = (chance * q * np.log(safe / share)).sum()
    return found
