"""What is planted in simulated data sets, what is then true, and how a replicate is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from vlbias.analysis.functionals import crossfit_target
from vlbias.analysis.simulated_scores import (
    PlantedWorld,
    SimulatedCondition,
    make_world,
    mediated_conditions,
)

DRAWS = 300
ZERO = np.zeros(79)


@dataclass(frozen=True)
class Scenario:
    """What is planted: a share of biased objects and the conditions of the arms."""

    biased: float
    arms: Mapping[str, SimulatedCondition]


def _scenario(biased: float, effect: float = 0.0, shift: float = 0.0) -> Scenario:
    arms = mediated_conditions(effect, 0.5)
    arms = {
        a: SimulatedCondition(c.scale, shift if a in ("11", "01") else 0.0, c.agreement)
        for a, c in arms.items()
    }
    # the placebo shares the shift but not the effect: what is left of the effect is the truth
    return Scenario(biased, arms | {"placebo": SimulatedCondition(1.0, shift, 0.9)})


SCENARIOS = {
    "no bias, nothing done": _scenario(0.0),
    "no bias, threshold +0.15 SD": _scenario(0.0, shift=0.15),
    "bias, nothing done": _scenario(0.5),
    "bias, threshold +0.15 SD": _scenario(0.5, shift=0.15),
    "bias, 25 % removed": _scenario(0.5, effect=0.25),
}


def planted_world(biased: float) -> PlantedWorld:
    """The objects of all replicates."""
    return make_world(np.random.default_rng(7), biased=biased)


class Truth:
    """True functionals over the objects used."""

    def __init__(self, world: PlantedWorld, arms: Mapping[str, SimulatedCondition], n: int) -> None:
        self.world, self.arms, self.n = world, dict(arms), n

    def gap(self, arm: str, used: np.ndarray, measure: str = "fpr") -> np.ndarray:
        """True gaps."""
        return self.world.gaps(self.arms[arm], measure)[:, used]

    def spread(self, arm: str, used: np.ndarray, measure: str = "fpr") -> np.ndarray:
        """True standard errors of the gaps."""
        return self.world.spread(self.arms[arm], self.n, measure)[:, used]

    def value(self, arm: str, functional: str, used: np.ndarray) -> float:
        """The true functional of one arm."""
        measure = "score" if functional.startswith("score") else "fpr"
        gap = self.gap(arm, used, measure)
        if functional == "B_plugin":
            return float(np.abs(gap).sum())
        if functional.endswith("crossfit"):
            return crossfit_target(gap, self.spread(arm, used, measure))
        null = self.gap("00", used, measure), self.spread("00", used, measure)
        return crossfit_target(*null, gap)

    def combination(self, terms: Mapping[str, float], functional: str, used: np.ndarray) -> float:
        """The true sum of arms."""
        return sum(c * self.value(a, functional, used) for a, c in terms.items())

    def add_matched(self, used: np.ndarray) -> None:
        """The threshold-only baseline with the mean FPR of arm 11."""

        def mean(condition: SimulatedCondition) -> float:
            rates = self.world.rates(condition)[:, used]
            return float((rates.T @ [self.world.ratio, 1 - self.world.ratio]).mean())

        goal = mean(self.arms["11"])
        shift = brentq(lambda t: mean(SimulatedCondition(1.0, t, 1.0)) - goal, -1, 1)
        self.arms["matched"] = SimulatedCondition(1.0, float(shift), 1.0)


def record(rows: list[dict], name: str, lo: float, hi: float, truth: float, **more: float) -> None:
    """Adds whether an interval holds the truth."""
    rows.append(
        {
            "quantity": name,
            "covered": float(lo - 1e-12 <= truth <= hi + 1e-12),
            "width": hi - lo,
            "rejected": float(lo > 0 or hi < 0),
            "truth": truth,
        }
        | more
    )


def record_test(rows: list[dict], name: str, p: float) -> None:
    """Adds whether a test rejects."""
    rows.append({"quantity": name, "rejected": float(p <= 0.05)})
