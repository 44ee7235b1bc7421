"""What a study can see before it is run: noise floor, smallest detectable bias and change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr

from vlbias.analysis.label_permutation import label_test
from vlbias.analysis.pilot import thresholded_correlation
from vlbias.analysis.simulated_scores import PlantedWorld, SimulatedCondition
from vlbias.errors import BadOption

__all__ = ["AGREEMENT", "CORRELATION", "CorrelatedGaps", "PowerPlan", "detection_rate", "power"]

CORRELATION = 0.45
AGREEMENT = 0.6
_DRAWS = 20_000


@dataclass(frozen=True)
class PowerPlan:
    """What n images can show.

    Args:
        n: Images.
        objects: Objects planned.
        objects_used: Objects that will meet the support rules.
        fpr: False-positive rate assumed.
        ratio: Share of the larger group.
        floor: Mean of B_plugin when there is no bias at all.
        floor_q95: Its 95 % quantile.
        minimal_bias: Smallest B that the label-permutation test finds with the power wanted, gaps
            of equal size in half of the objects.
        minimal_change: Smallest change of B_lin between two conditions found with that power, gaps
            on both sides.
        minimal_change_crossfit: The same for B_crossfit, where nothing is known of the signs.
        power: Wanted.
        level: Two-sided error allowed.
        agreement: Correlation of false positives between the two conditions.
        correlation: Of two objects' scores on the same image.
        design_effect: Variance of a rate over that of independent images.
    """

    n: int
    objects: int
    objects_used: int
    fpr: float
    ratio: float
    floor: float
    floor_q95: float
    minimal_bias: float
    minimal_change: float
    minimal_change_crossfit: float
    power: float
    level: float
    agreement: float
    correlation: float
    design_effect: float

    @property
    def status(self) -> str:
        """Either "ok", or "insufficient" where no object will have support."""
        return "ok" if self.objects_used else "insufficient"

    def frame(self) -> pd.DataFrame:
        """One row."""
        return pd.DataFrame([vars(self) | {"status": self.status}])


def power(
    n: int,
    objects: int,
    fpr: float | npt.ArrayLike,
    ratio: float,
    *,
    correlation: float = CORRELATION,
    design_effect: float = 1.0,
    agreement: float = AGREEMENT,
    wanted: float = 0.8,
    level: float = 0.05,
    min_count: int = 50,
    min_events: float = 5.0,
) -> PowerPlan:
    """Floor and smallest detectable bias and change, from correlated normal gaps.

    Args:
        n: Images with a group label.
        objects: Objects counted.
        fpr: One false-positive rate for all objects, or one per object.
        ratio: Share of one of two groups, for example 0.68.
        correlation: Of two objects' scores on the same image, in root mean square; 0.45 is what our
            own runs have (.34 to .50). Measure it on a small run with `pilot.pilot`.
        design_effect: Variance of a rate over that of independent images; above 1 with clusters.
        agreement: Correlation of the two conditions' false positives on the same image; 0.6 is
            that of scores correlated 0.9 at a rate of 2 %.
        wanted: Power.
        level: Two-sided error.
        min_count: Support rule, images per group without the object.
        min_events: Support rule, expected false positives per group.

    Returns:
        A plan. `detection_rate` simulates what it promises.

    Raises:
        BadOption: if a number is out of range.
    """
    rates = np.broadcast_to(np.asarray(fpr, dtype=np.float64), (objects,) if objects > 0 else (1,))
    _check(n, objects, fpr, rates, ratio)
    if not 0 <= correlation < 1:
        raise BadOption("correlation", correlation, "at least 0 and below 1, such as 0.45")
    groups = n * np.array([max(ratio, 1 - ratio), min(ratio, 1 - ratio)])
    enough = (groups[1] >= min_count) & (rates * groups[1] >= min_events)
    used = rates[enough]
    k = len(used)
    spread = np.sqrt(design_effect * used * (1 - used) * (1 / groups[0] + 1 / groups[1]))
    reach = float(stats.norm.isf(level / 2) + stats.norm.ppf(wanted))
    paired = 2 * (1 - agreement) * float((spread**2).sum())
    gaps = CorrelatedGaps.of(used, correlation) if k else None
    nothing = float("nan")
    return PowerPlan(
        n=n,
        objects=objects,
        objects_used=k,
        fpr=float(rates.mean()),
        ratio=ratio,
        floor=float(np.sqrt(2 / np.pi) * spread.sum()) if k else nothing,
        floor_q95=gaps.floor(spread) if gaps else nothing,
        minimal_bias=gaps.minimal_bias(spread, level, wanted) if gaps else nothing,
        minimal_change=reach * np.sqrt(paired) if k else nothing,
        minimal_change_crossfit=reach * gaps.crossfit_error(spread, agreement) if gaps else nothing,
        power=wanted,
        level=level,
        agreement=agreement,
        correlation=correlation,
        design_effect=design_effect,
    )


def _check(n: int, objects: int, fpr: object, rates: npt.NDArray[np.float64], ratio: float) -> None:
    for name, value, fine, expected in (
        ("n", n, n >= 2, "at least 2 images"),
        ("objects", objects, objects >= 1, "at least 1 object"),
        ("fpr", fpr, bool(((rates > 0) & (rates < 1)).all()), "above 0 and below 1, such as 0.02"),
        ("ratio", ratio, 0 < ratio < 1, "a share between 0 and 1, for example 0.68"),
    ):
        if not fine:
            raise BadOption(name, value, expected)


@dataclass(frozen=True, eq=False)
class CorrelatedGaps:
    """Standard normal gaps of K objects that share a part, many times.

    Args:
        own: [D, K] draws.
        other: [D, K] further draws, with the same correlation between objects.
        correlation: That of two objects.
    """

    own: npt.NDArray[np.float64]
    other: npt.NDArray[np.float64]
    correlation: float

    @classmethod
    def of(cls, rates: npt.NDArray[np.float64], latent: float) -> CorrelatedGaps:
        """Draws for events of these rates whose scores correlate so; the same each time."""
        k = len(rates)
        r = thresholded_correlation(latent, float(np.median(rates))) if latent else 0.0
        rng = np.random.default_rng(0)
        drawn = [
            np.sqrt(r) * rng.standard_normal((_DRAWS, 1))
            + np.sqrt(1 - r) * rng.standard_normal((_DRAWS, k))
            for _ in range(2)
        ]
        return cls(drawn[0], drawn[1], r)

    def floor(self, spread: npt.NDArray[np.float64]) -> float:
        """95 % quantile of the sum of absolute gaps without bias."""
        return float(np.quantile(np.abs(self.own) @ spread, 0.95))

    def minimal_bias(self, spread: npt.NDArray[np.float64], level: float, wanted: float) -> float:
        """B with equal gaps in half of the objects at which the sum of squared z has the power."""
        k = len(spread)
        biased = np.arange(k) < max(1, k // 2)
        side = np.where(np.arange(k) % 2, 1.0, -1.0)
        drawn = float(np.quantile((self.own**2).sum(axis=1), 1 - level))
        critical = max(drawn, self._critical(level))  # the test asks for both
        unit = np.where(biased, side / spread, 0.0)
        # correlations are estimated, and miss more the more they matter (experiments/power_promise.py)
        spare = min(0.1 + 0.3 * (k - 1) * self.correlation**2, 0.45)
        goal = wanted + spare * (1 - wanted)

        def missing(gap: float) -> float:
            return float((((self.other + gap * unit) ** 2).sum(axis=1) > critical).mean()) - goal

        top = 10 * float(spread[biased].max()) * np.sqrt(max(critical, 1.0))
        return float(brentq(missing, 0.0, top, xtol=1e-3 * top)) * int(biased.sum())

    def _critical(self, level: float) -> float:
        """Where the sum of squares is significant by its three moments; see `label_permutation`."""
        k = self.own.shape[1]
        shared = 1 + (k - 1) * self.correlation
        square, cube = (shared**p + (k - 1) * (1 - self.correlation) ** p for p in (2, 3))
        part = 2 / 9 * cube**2 / square**3
        root = 1 - part + float(stats.norm.isf(level)) * np.sqrt(part)
        return float(k + (root**3 - 1) * square**2 / cube)

    def crossfit_error(self, spread: npt.NDArray[np.float64], agreement: float) -> float:
        """Standard error of a change of the cross-fit functional without bias."""
        later = agreement * self.own + np.sqrt(1 - agreement**2) * self.other
        change = [x * (2 * ndtr(x) - 1) - 2 * stats.norm.pdf(x) for x in (self.own, later)]
        return float(((change[1] - change[0]) @ spread).std())


def detection_rate(
    plan: PowerPlan,
    bias: float,
    *,
    correlation: float | None = None,
    replicates: int = 200,
    permutations: int = 199,
    rng: np.random.Generator,
) -> float:
    """Share of simulated data sets in which the label-permutation test finds a bias of this size.

    Equal gaps of alternating sign in half of the objects, all with the planned rate, correlated
    through a shared component of each image.

    Args:
        plan: From `power`.
        bias: Sum of absolute gaps of the rates.
        correlation: Of two objects' scores on the same image; the plan's if not given.
        replicates: Data sets.
        permutations: Per test.
        rng: Seeded generator.
    """
    k = plan.objects
    shared = float(np.sqrt(plan.correlation if correlation is None else correlation))
    biased = np.arange(k) < max(1, k // 2)
    gap = np.where(biased, bias / biased.sum(), 0.0) * np.where(np.arange(k) % 2, 1, -1)
    high, low = plan.fpr + gap * (1 - plan.ratio), plan.fpr - gap * plan.ratio
    first, second = stats.norm.ppf(high), stats.norm.ppf(low)
    world = PlantedWorld(np.full(k, 0.0), (first + second) / 2, first - second, plan.ratio, shared)
    found = 0
    for _ in range(replicates):
        panel, scores = world.draw(plan.n, {"null": SimulatedCondition(agreement=1.0)}, rng)
        test = label_test(panel, scores["null"], np.zeros(k), permutations=permutations, rng=rng)
        found += test.p <= plan.level
    return found / replicates
