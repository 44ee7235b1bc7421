"""Racing: samples come in rounds, and what is settled about a quantity after a round is measured no more.

Of K quantities (mediators) it is asked which differ from 0, and which of those are the largest. A
group-sequential test answers after each round. Its limits hold for all quantities and all rounds together:

    |Z| < c share^(DELTA - 1/2),    share: of the clusters that have been seen.

The shape is that of Wang & Tsiatis (Biometrics 1987) with DELTA = 1/4, between O'Brien & Fleming (0), whose
early limits are too wide to settle anything, and Pocock (1/2), which pays for early looks at the end. The
constant c is a quantile of the largest |Z| share^(1/2 - DELTA) over quantities and rounds (max-T, Westfall &
Young 1993), from draws with the correlation of the first round, in which every quantity is measured; increments
of later rounds are independent (Jennison & Turnbull 1997). What was dropped stays in that maximum: a family of
what seemed largest would find too much. Confidence sequences hold after every sample, not only after rounds.
But samples are run in cells and looked at after rounds, and union bounds over hundreds of correlated mediators
cost passes for nothing.

A quantity leaves after a round if

- its limits leave out 0, and by them it is not among the `keep` largest of those that do so; or
- it will hardly survive: with a probability of at most `miss` would its Z reach c once all samples were seen
  (`predictive_power`). This rule needs no correction, however good its prediction is: who leaves by it is
  never found, and the others are tested as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from vlbias.analysis.inference import check_level
from vlbias.analysis.predictive_power import predictive_power
from vlbias.analysis.stratified_means import Codes, Floats, StratifiedMean, stratified_mean

__all__ = ["DELTA", "Race", "Rules", "race"]

DELTA = 0.25
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rules:
    """When a quantity leaves.

    Args:
        keep: So many of the largest stay to the end.
        miss: Largest probability with which one that leaves would have survived all samples.
        level: One minus the probability of any false statement.
        draws: From the joint law of all quantities and rounds.
        seed: Of the draws.
    """

    keep: int = 10
    miss: float = 0.1
    level: float = 0.95
    draws: int = 4000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Race:
    """What is known of K quantities after some rounds.

    Args:
        estimate: [K] after the last round in which a quantity was measured.
        se: [K] its standard error.
        lo: [K] limits that hold for all quantities and all rounds together.
        hi: [K] likewise.
        p: [K] adjusted for all quantities and rounds.
        survives: [K] whether limits left out 0 after any round.
        left: [K] the round after which it left, from 1; 0 for what is still measured.
        rows: [K] rows with a value of it.
        bound: The constant c of the limits.
    """

    estimate: Floats
    se: Floats
    lo: Floats
    hi: Floats
    p: Floats
    survives: Mask
    left: Codes
    rows: Codes
    bound: float

    @property
    def running(self) -> Mask:
        """[K] what is measured in the next round."""
        return np.asarray(self.left == 0)

    def among_largest(self, keep: int) -> Mask:
        """[K] what is, by its limits, among the `keep` largest by size of all that survive."""
        least, most = _sizes(self.lo, self.hi)
        rivals = most[self.survives][None] > least[:, None]
        return np.asarray(self.survives & (rivals.sum(axis=1) - 1 < keep))


def race(
    values: Floats,
    round_of: Codes,
    *,
    rounds: int,
    stratum: Codes,
    cluster: Codes,
    rules: Rules,
    approximate: Floats | None = None,
) -> Race:
    """The race after some of its rounds; what comes later is not looked at.

    A quantity's estimate is the sum over strata of its mean in each. Rounds are random parts of the clusters.

    Args:
        values: [N, K] of all rows that are planned; NaN where there is no value (yet).
        round_of: [N] the round of each row, from 1; all rows of a cluster are in one.
        rounds: After so many; at the last of all, nothing leaves.
        stratum: [N] codes from 0.
        cluster: [N] codes from 0.
        rules: When a quantity leaves.
        approximate: [N, K] cheap approximations of all values, also of those to come, which make predictions
            sharper and nothing else.
    """
    last, count, strata = int(round_of.max()), values.shape[1], int(stratum.max()) + 1
    share = np.cumsum(_clusters_in(round_of, cluster))
    share = share / share[-1]
    state, largest = _start(count), np.zeros(count)
    for number in range(1, rounds + 1):
        seen, on = round_of <= number, np.flatnonzero(state.left == 0)
        found = stratified_mean(
            values[np.ix_(seen, on)], stratum[seen], _codes(cluster[seen]), strata
        )
        if number == 1:
            drawn = _largest_drawn(found, share, rules)
            bound = float(np.quantile(drawn, check_level(rules.level)))
        z = _normal_scores(found)
        reach = bound * share[number - 1] ** (DELTA - 0.5)
        largest[on] = np.maximum(largest[on], z * share[number - 1] ** (0.5 - DELTA))
        state = _seen(state, found, on, reach, bound)
        if number < last:
            out = _settled(state, on, rules.keep)
            cheap = None if approximate is None else approximate[:, on]
            power = predictive_power(values[:, on], seen, stratum, found, bound, cheap)
            out |= ~state.survives[on] & (power <= rules.miss)
            state.left[on[out]] = number
    above = (drawn[:, None] >= largest[None] - 1e-9).sum(axis=0)
    state.p[:] = (1 + above) / (1 + len(drawn))
    return state


def _start(count: int) -> Race:
    return Race(
        estimate=np.full(count, np.nan),
        se=np.full(count, np.nan),
        lo=np.full(count, -np.inf),
        hi=np.full(count, np.inf),
        p=np.ones(count),
        survives=np.zeros(count, bool),
        left=np.zeros(count, np.intp),
        rows=np.zeros(count, np.intp),
        bound=np.inf,
    )


def _seen(race: Race, found: StratifiedMean, on: Codes, reach: float, bound: float) -> Race:
    """The race with what a round adds: limits of rounds hold together, and so where they overlap."""
    wide = student.isf(ndtr(-reach), found.df) * found.se
    wide = np.where(np.isfinite(found.estimate), wide, np.inf)
    middle = np.nan_to_num(found.estimate)
    race.estimate[on], race.se[on], race.rows[on] = found.estimate, found.se, found.rows
    race.lo[on] = np.maximum(race.lo[on], middle - wide)
    race.hi[on] = np.minimum(race.hi[on], middle + wide)
    race.survives[on] |= (race.lo[on] > 0) | (race.hi[on] < 0)
    return replace(race, bound=bound)


def _settled(race: Race, on: Codes, keep: int) -> Mask:
    """[on] what differs from 0, and has `keep` others whose limits are farther from 0."""
    least, most = _sizes(race.lo, race.hi)
    ahead = least[None] > most[on][:, None]
    return np.asarray(race.survives[on] & (ahead.sum(axis=1) >= keep))


def _sizes(lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """The smallest and the largest absolute value between limits."""
    return np.maximum(np.maximum(lo, -hi), 0.0), np.maximum(np.abs(lo), np.abs(hi))


def _normal_scores(found: StratifiedMean) -> Floats:
    """[K] absolute statistics, on the scale of a standard normal whatever the degrees of freedom."""
    moved = np.nan_to_num(found.estimate) != 0
    size = np.abs(np.nan_to_num(found.estimate)) / np.where(found.se > 0, found.se, 1.0)
    # what is the same in every row has no error: 0 is 0, and anything else is surely not
    size = np.where(found.se > 0, size, np.where(moved, np.inf, 0.0))
    return np.asarray(-ndtri(student.sf(size, found.df)))


def _largest_drawn(found: StratifiedMean, share: Floats, rules: Rules) -> Floats:
    """[draws] the largest |Z| share^(1/2 - DELTA) over quantities and rounds if all were 0."""
    part = found.influence / np.where(found.se > 0, np.sqrt((found.influence**2).sum(0)), np.inf)
    rng = np.random.default_rng(rules.seed)
    total = np.zeros((rules.draws, part.shape[1]))
    largest, before = np.zeros(rules.draws), 0.0
    for seen in share:
        total += np.sqrt(seen - before) * (rng.standard_normal((rules.draws, len(part))) @ part)
        size = np.abs(total).max(axis=1, initial=0.0) / np.sqrt(seen)
        largest, before = np.maximum(largest, size * seen ** (0.5 - DELTA)), seen
    return largest


def _clusters_in(round_of: Codes, cluster: Codes) -> Codes:
    """[rounds] clusters of each round."""
    pairs = np.unique(np.stack([round_of, cluster]), axis=1)
    return np.bincount(pairs[0] - 1, minlength=int(round_of.max()))


def _codes(labels: Codes) -> Codes:
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.intp)
