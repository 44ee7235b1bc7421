"""Rates of relabelled groups with the variances and correlations of each group's own units.

A unit is what labels move with: a cluster, or a row of a cluster that holds several groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.permutation import row_sums
from vlbias.analysis.rates import Measure, Thresholds

__all__ = ["GroupMoments", "UnitSums"]

_MOST_OBJECTS = 64
_CHUNK = 500


@dataclass(frozen=True, eq=False)
class GroupMoments:
    """Group rates under R labellings, and how sure they are.

    Args:
        value: [R, k, K] rates or mean scores.
        variance: [R, k, K] of the rates. Of false positives it is that of the pooled rate, equal
            under the hypothesis, times each group's own design effect; of scores each group's own.
        correlation: [R, k, J] of a group's rates of two objects, for J pairs of objects.
        chance: [R, k] expected square of a correlation of two objects that have none.
        first: [J] position of one object of the pair.
        second: [J] of the other.
        paired: How many objects are in pairs: J is all pairs of these.
    """

    value: Floats
    variance: Floats
    correlation: Floats
    chance: Floats
    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    paired: int


class UnitSums:
    """Sums over units that give the moments of any labelling without going back to the rows.

    Correlations are taken over all pairs of objects, or of 64 fixed ones where there are more.
    """

    def __init__(
        self,
        panel: Panel,
        scores: Floats,
        thresholds: Thresholds | None,
        measure: Measure,
        objects: npt.NDArray[np.intp] | None,
        unit: npt.NDArray[np.intp],
    ) -> None:
        top, bottom = row_sums(panel, scores, thresholds, measure, objects)
        self.is_single = bool(len(unit) == unit.max(initial=-1) + 1)
        self.is_rate = measure != "score"
        order = np.argsort(unit, kind="stable")
        if self.is_single:
            self.numerator, self.denominator = top[order], bottom[order]
        else:
            starts = np.flatnonzero(np.r_[True, np.diff(unit[order]) > 0])
            self.numerator = np.add.reduceat(top[order], starts, axis=0)
            self.denominator = np.add.reduceat(bottom[order], starts, axis=0)
        self.rows = np.bincount(unit).astype(np.float64)
        count = np.maximum(self.denominator.sum(axis=0, dtype=np.float64), 1)
        self.rate = self.numerator.sum(axis=0, dtype=np.float64) / count
        self.centred = self.numerator - self.rate.astype(np.float32) * self.denominator
        self.first, self.second, self.paired = _pairs_of(self.numerator.shape[1])

    def sizes(
        self, own: npt.NDArray[np.int8], groups: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each group, the size of the unit that a row is in, on average, and how many units count."""
        member = [(own[None] == g).astype(np.float32) for g in range(groups)]
        mean = [
            float((rows @ self.rows**2 / np.maximum(rows @ self.rows, 1))[0]) for rows in member
        ]
        return np.array(mean), 1 / self._chance(member)[0] + 1

    def moments(self, codes: npt.NDArray[np.int8], groups: int) -> GroupMoments:
        """Of every labelling [R, U] of the units with group codes."""
        member = [(codes == g).astype(np.float32) for g in range(groups)]
        total, count = (
            np.stack([(m @ part).astype(np.float64) for m in member], axis=1)
            for part in (self.numerator, self.denominator)
        )
        safe = np.maximum(count, 1.0)
        value = total / safe
        spare, weights = self._squares(member, total, count, value)
        units = np.maximum(np.stack([m.sum(axis=1) for m in member], axis=1), 2.0)[..., None]
        own = spare / safe**2 * units / (units - 1)
        variance = self._pooled(total, safe, value, own) if self.is_rate else own
        correlation = self._correlations(member, value - self.rate, spare, weights)
        chance = self._chance(member)
        return GroupMoments(
            value, variance, correlation, chance, self.first, self.second, self.paired
        )

    def _chance(self, member: list[Floats]) -> Floats:
        """Units of unequal size say as little as fewer of equal size; see `rates.Window`."""
        square = np.square(self.rows, dtype=np.float64)
        total = np.stack([rows @ square for rows in member], axis=1)
        fourth = np.stack([rows @ square**2 for rows in member], axis=1)
        count = np.divide(total**2, fourth, out=np.ones_like(total), where=fourth > 0)
        return np.asarray(1 / np.maximum(count - 1, 1))

    def _squares(
        self, member: list[Floats], total: Floats, count: Floats, value: Floats
    ) -> tuple[Floats, Floats]:
        """[R, k, K] sums of squared residuals about each group's rate, and of squared denominators."""
        top, bottom = self.numerator, self.denominator
        if self.is_single:
            first = total if self.is_rate else _sums(member, top * top)
            cross, last = total, count
        else:
            first, cross, last = (
                _sums(member, part) for part in (top * top, top * bottom, bottom * bottom)
            )
        spare = first - 2 * value * cross + value**2 * last
        return np.maximum(spare, 0.0), last

    def _pooled(self, total: Floats, count: Floats, value: Floats, own: Floats) -> Floats:
        """[R, k, K] variance of the pooled rate, times what clusters add to it in each group."""
        mean = total.sum(axis=1, keepdims=True) / count.sum(axis=1, keepdims=True)
        pooled = mean * (1 - mean) / count
        if self.is_single:
            return np.asarray(pooled)
        plain = (value * (1 - value) / count).sum(axis=2, keepdims=True)
        # one factor for all objects: that of a rare object alone hangs on a handful of events
        effect = np.divide(
            own.sum(axis=2, keepdims=True), plain, out=np.ones_like(plain), where=plain > 0
        )
        return np.asarray(pooled * effect)

    def _correlations(
        self, member: list[Floats], shift: Floats, spare: Floats, weights: Floats
    ) -> Floats:
        found = np.empty((*shift.shape[:2], len(self.first)), np.float32)
        for start in range(0, len(self.first), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            a, b = self.first[chunk], self.second[chunk]
            product = self.centred[:, a] * self.centred[:, b]
            rest = np.broadcast_to(product.sum(axis=0), (len(shift), product.shape[1])).copy()
            for g, rows in enumerate(member):
                # labels are a partition: the last group is what the others leave
                part = rows @ product if g + 1 < len(member) else rest
                rest = rest - part
                moved = shift[:, g, a] * shift[:, g, b]
                moved = moved * np.sqrt(weights[:, g, a] * weights[:, g, b])
                size = np.sqrt(spare[:, g, a] * spare[:, g, b])
                own = np.divide(part - moved, size, out=np.zeros(size.shape), where=size > 0)
                found[:, g, chunk] = np.clip(own, -1, 1)
        return found


def _sums(member: list[Floats], part: Floats) -> Floats:
    """[R, k, K] sums of units [U, K] over each group."""
    return np.stack([(rows @ part).astype(np.float64) for rows in member], axis=1)


def _pairs_of(objects: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    """Pairs of the objects whose correlations are taken; the same whatever the scores are."""
    kept = np.arange(objects)
    if objects > _MOST_OBJECTS:
        kept = np.sort(np.random.default_rng(objects).choice(objects, _MOST_OBJECTS, replace=False))
    first, second = np.triu_indices(len(kept), 1)
    return kept[first], kept[second], len(kept)
