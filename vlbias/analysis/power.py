"""What a study can see before it is run: noise floor, smallest detectable bias and change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from vlbias.analysis.functionals import crossfit
from vlbias.analysis.label_permutation import label_test
from vlbias.analysis.simulated_scores import PlantedWorld, SimulatedCondition
from vlbias.errors import BadOption

__all__ = ["PowerPlan", "detection_rate", "power"]


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
        floor_q95: Its 95 % quantile, objects independent.
        minimal_bias: Smallest B that the label-permutation test finds with the power wanted, gaps
            of equal size in half of the objects.
        minimal_change: Smallest change of B_lin between two conditions found with that power,
            objects independent.
        minimal_change_crossfit: The same for B_crossfit, where nothing is known of the signs.
        power: Wanted.
        level: Two-sided error allowed.
        agreement: Correlation of false positives between the two conditions.
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
    agreement: float = 0.6,
    wanted: float = 0.8,
    level: float = 0.05,
    min_count: int = 50,
    min_events: float = 5.0,
) -> PowerPlan:
    """Floor and smallest detectable bias and change, from normal approximations.

    Args:
        n: Images with a group label.
        objects: Objects counted.
        fpr: One false-positive rate for all objects, or one per object.
        ratio: Share of one of two groups, for example 0.68.
        agreement: Correlation of the two conditions' false positives on the same image; 0.6 is
            that of scores correlated 0.9 at a rate of 2 %.
        wanted: Power.
        level: Two-sided error.
        min_count: Support rule, images per group without the object.
        min_events: Support rule, expected false positives per group.

    Returns:
        A plan. Correlated objects widen the spread of the floor and of changes; `detection_rate`
        simulates that.

    Raises:
        BadOption: if a number is out of range.
    """
    rates = np.broadcast_to(np.asarray(fpr, dtype=np.float64), (objects,) if objects > 0 else (1,))
    _check(n, objects, fpr, rates, ratio)
    groups = n * np.array([max(ratio, 1 - ratio), min(ratio, 1 - ratio)])
    enough = (groups[1] >= min_count) & (rates * groups[1] >= min_events)
    used = rates[enough]
    k = len(used)
    nothing = float("nan")
    spread = np.sqrt(used * (1 - used) * (1 / groups[0] + 1 / groups[1]))
    reach = float(stats.norm.isf(level / 2) + stats.norm.ppf(wanted))
    paired = 2 * (1 - agreement) * float((spread**2).sum())
    folded = float(np.sqrt((1 - 2 / np.pi) * (spread**2).sum()))
    floor = float(np.sqrt(2 / np.pi) * spread.sum())
    return PowerPlan(
        n=n,
        objects=objects,
        objects_used=k,
        fpr=float(rates.mean()),
        ratio=ratio,
        floor=floor if k else nothing,
        floor_q95=floor + 1.645 * folded if k else nothing,
        minimal_bias=_minimal_bias(spread, level, wanted) if k else nothing,
        minimal_change=reach * np.sqrt(paired) if k else nothing,
        minimal_change_crossfit=reach * _crossfit_error(spread, agreement) if k else nothing,
        power=wanted,
        level=level,
        agreement=agreement,
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


def _minimal_bias(spread: npt.NDArray[np.float64], level: float, wanted: float) -> float:
    """B with equal gaps in half of the objects at which the sum of squared z has the power."""
    k = len(spread)
    critical = stats.chi2.isf(level, k)
    needed = brentq(lambda x: stats.ncx2.sf(critical, k, x) - wanted, 1e-6, 1e4)
    half = max(1, k // 2)
    # noncentrality = sum over biased objects of (gap / spread)^2, spreads at their mean
    return float(np.sqrt(needed * half) * spread.mean())


def _crossfit_error(spread: npt.NDArray[np.float64], agreement: float) -> float:
    """Standard error of a change of the cross-fit functional without bias, by quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    x, z = np.meshgrid(points, points)
    y = agreement * x + np.sqrt(1 - agreement**2) * z
    one = np.ones((1, 1))
    change = crossfit(y[..., None, None], one) - crossfit(x[..., None, None], one)
    variance = float((np.outer(weights, weights) * change**2).sum())
    return float(np.sqrt(variance * (spread**2).sum()))


def detection_rate(
    plan: PowerPlan,
    bias: float,
    *,
    shared: float = 0.3,
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
        shared: Standard deviation of what an image's objects share, of 1 in all.
        replicates: Data sets.
        permutations: Per test.
        rng: Seeded generator.
    """
    k = plan.objects
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
