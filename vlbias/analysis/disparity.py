"""The disparity of one arm: sum over objects of the gap between groups, with its floor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.bounds_of_b import bounds_of_b, gap_errors
from vlbias.analysis.functionals import plugin, shrinkage
from vlbias.analysis.inference import Interval, check_level, interval, multipliers
from vlbias.analysis.label_permutation import LabelTest, label_test
from vlbias.analysis.missing_scores import missing_scores
from vlbias.analysis.object_gaps import object_table
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.permutation import Aggregate, aggregate_gaps
from vlbias.analysis.range_crossfit import cell_sums, crossfit_halvings
from vlbias.analysis.rates import Measure, Rates, Thresholds, measure_rates
from vlbias.analysis.threshold_error import moved_rates
from vlbias.errors import BadStudy

__all__ = ["Disparity", "disparity"]

_NUMBERS = (
    "plugin", "floor", "p", "p_plugin", "crossfit", "lo", "hi", "crossfit_lo", "crossfit_hi",
    "squared", "signed", "relative", "missing", "plugin_least", "plugin_most",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Disparity:
    """Everything said about B = sum over objects of the gap; NaN where no object has support.

    Args:
        measure: What is compared.
        aggregate: How k groups become one gap.
        n: Images per group.
        n_clusters: Clusters.
        n_objects: Objects with support, over which everything is summed.
        n_insufficient: Objects without.
        min_count: Smallest denominator among the objects used.
        plugin: Sum of absolute gaps, as usually printed.
        floor: Its mean if no object had a gap and all else were as it is: the sum of absolute
            sampling errors, from draws over clusters.
        floor_quantiles: Its 5, 50 and 95 % quantiles then.
        p: Of the studentised label-permutation test; see `label_permutation.label_test`.
        p_plugin: Of the same test with the studentised plug-in as statistic.
        crossfit: Sign from one half, size from the other, mean over all halvings; expectation <= B.
        lo: Lower limit for B itself.
        hi: Upper limit for B itself.
        crossfit_lo: Lower limit for the expectation of `crossfit`.
        crossfit_hi: Upper limit for it.
        squared: Unbiased estimate of the sum of squared gaps.
        signed: Sum of gaps, first group minus second, mean over pairs.
        relative: plugin over the sum of mean rates.
        missing: Largest share of entries without a score in a group.
        plugin_least: Smallest plug-in over all that missing scores could have been.
        plugin_most: Largest; see `missing_scores`.
        level: Of the limits.
        status: "ok", or "insufficient" where no object has support.
        objects: One row per object, also those without support; see `object_gaps.object_table`.
    """

    measure: str
    aggregate: str
    n: dict[str, int]
    n_clusters: int
    n_objects: int
    n_insufficient: int
    min_count: float
    plugin: float
    floor: float
    floor_quantiles: tuple[float, float, float]
    p: float
    p_plugin: float
    crossfit: float
    lo: float
    hi: float
    crossfit_lo: float
    crossfit_hi: float
    squared: float
    signed: float
    relative: float
    missing: float
    plugin_least: float
    plugin_most: float
    level: float
    status: str
    objects: pd.DataFrame

    @property
    def is_within_floor(self) -> bool:
        """Whether the plug-in is no larger than 95 % of what no gap at all would give."""
        return not self.plugin > self.floor_quantiles[2]

    def frame(self) -> pd.DataFrame:
        """One row with every number but the objects."""
        row: dict[str, Any] = {k: v for k, v in vars(self).items() if k not in ("n", "objects")}
        low, middle, high = row.pop("floor_quantiles")
        row |= {"floor_q05": low, "floor_q50": middle, "floor_q95": high}
        row |= {f"n_{name}": count for name, count in self.n.items()}
        return pd.DataFrame([row | {"is_within_floor": self.is_within_floor}])


def disparity(
    panel: Panel,
    scores: npt.ArrayLike,
    thresholds: Thresholds | None = None,
    *,
    rng: np.random.Generator,
    measure: Measure = "fpr",
    aggregate: Aggregate = "pairwise",
    objects: npt.NDArray[np.intp] | None = None,
    strata: npt.ArrayLike | None = None,
    permutations: int = 2000,
    halvings: int = 1000,
    draws: int = 2000,
    level: float = 0.95,
    drawn_thresholds: npt.NDArray[np.float64] | None = None,
) -> Disparity:
    """B of one arm with its floor, tests, cross-fit and limits; never a bare number.

    Limits for B: the expectation of the cross-fit is at most B and that of the plug-in at least B
    (Jensen), so [cross-fit - z se, plug-in + z se] covers B whatever the gaps are. It is wide where
    B is within the floor, as any valid interval for a sum of absolute values must be.

    Args:
        panel: Images, groups, presence.
        scores: [S, K] presence scores of the arm.
        thresholds: [K]; not needed for "score".
        rng: Seeded generator.
        measure: "fpr", "tpr" or "score".
        aggregate: "pairwise" (mean over pairs of groups) or "range" (largest minus smallest).
        objects: Columns with support; found here if not given. Give the null arm's for other arms.
        strata: [S] labels within which images are exchangeable in the permutation test.
        permutations: Draws of the permutation test.
        halvings: Random halvings of the cross-fit of "range"; for pairs their mean is known.
        draws: Multiplier draws for the limits.
        level: Of the limits.
        drawn_thresholds: [draws, K] thresholds that other calibration images might have given
            (`threshold_error.threshold_draws`); limits are then for B at the operating point that
            the rule means, and not only at the thresholds found.

    Raises:
        BadTable: if shapes disagree.
        BadStudy: if fewer than two groups are there, or the level is no probability.
    """
    array = panel.check_scores("scores", scores)
    check_level(level)
    if len(panel.groups) < 2:
        raise BadStudy("groups", panel.groups, "at least two groups")
    used = support(panel, array, thresholds, measure=measure) if objects is None else objects
    rates = measure_rates(panel, array, measure, thresholds, objects=used)
    there = (rates.count > 0).all(axis=0)
    if not there.all():  # the others have no gap here, which is not a gap of 0
        used = used[there]
        rates = measure_rates(panel, array, measure, thresholds, objects=used)
    if len(used) == 0:
        return _insufficient(panel, array, thresholds, measure, aggregate, level)
    test = label_test(
        panel, array, thresholds, measure=measure, objects=used, aggregate=aggregate,
        strata=strata, permutations=permutations, rng=rng,
    )  # fmt: skip
    weights = multipliers(panel.layout, draws, rng)
    moved = None
    if drawn_thresholds is not None and thresholds is not None and measure != "score":
        moved = moved_rates(panel, array, measure, thresholds, drawn_thresholds, used)
    own, top, (lo, hi), floor = _limits(rates, weights, aggregate, level, moved)
    fitted, fitted_lo, fitted_hi = own.estimate, own.lo, own.hi
    if aggregate == "range" and len(panel.groups) > 2:  # extremes have no closed form, nor limits
        sums = cell_sums(panel, array, measure, thresholds, used)
        fitted = crossfit_halvings(*sums, panel.layout, halvings=halvings, rng=rng)
        fitted_lo = fitted_hi = np.nan
    table = object_table(panel, measure_rates(panel, array, measure, thresholds), used, test, level)
    total = float(rates.value.mean(axis=0).sum())
    return Disparity(
        **_head(panel, rates, used, measure, aggregate, level),
        **_tests(top, test, floor),
        crossfit=fitted,
        lo=lo,
        hi=hi,
        crossfit_lo=fitted_lo,
        crossfit_hi=fitted_hi,
        squared=float((rates.gap**2 - rates.spread**2).mean(axis=0).sum()),
        signed=float(rates.gap.mean(axis=0).sum()),
        relative=top / total if measure != "score" and total > 0 else np.nan,
        **_missing(panel, array, rates, measure, used),
        status="ok",
        objects=table,
    )


def _limits(
    rates: Rates,
    weights: Floats,
    aggregate: Aggregate,
    level: float,
    moved: Floats | None = None,
) -> tuple[Interval, float, tuple[float, float], Floats]:
    """The cross-fit with its own limits, the plug-in, limits for B itself, and draws of the floor."""
    pairwise = len(rates.value) == 2 or aggregate == "pairwise"
    error = gap_errors(rates, weights)
    floor = plugin(error) if pairwise else _range_draws(rates, weights)[0]
    bounds = bounds_of_b(rates, error if moved is None else gap_errors(rates, weights, moved))
    top = float(aggregate_gaps(rates.value, aggregate).sum())
    drawn = bounds.plugin[1] if pairwise else _range_draws(rates, weights, moved)
    bounds = replace(bounds, plugin=(top, drawn))
    own = interval(*bounds.crossfit, level, df=bounds.df)
    return own, top, bounds.limits(level), floor


def _range_draws(rates: Rates, weights: Floats, moved: Floats | None = None) -> Floats:
    """[2, D] draws of the sum over objects of largest minus smallest group rate."""
    bags = rates.layout.bags
    sums = bags.sums(rates.residual)
    error = np.stack([weights[:, s] @ sums[s] for s in bags.spans], axis=1)
    error = error if moved is None else error + moved
    middle = shrinkage(rates.gap, rates.spread).mean(axis=0) * (
        rates.value - rates.value.mean(axis=0)
    )
    return np.stack([aggregate_gaps(error + c, "range").sum(axis=-1) for c in (0.0, middle)])


def _head(
    panel: Panel,
    rates: Rates,
    used: npt.NDArray[np.intp],
    measure: Measure,
    aggregate: Aggregate,
    level: float,
) -> dict[str, Any]:
    return {
        "measure": measure,
        "aggregate": aggregate,
        "n": {name: int((panel.code == g).sum()) for g, name in enumerate(panel.groups)},
        "n_clusters": panel.layout.n_clusters,
        "n_objects": len(used),
        "n_insufficient": len(panel.targets) - len(used),
        "min_count": float(rates.count.min()) if len(used) else np.nan,
        "level": level,
    }


def _tests(top: float, test: LabelTest, floor: Floats) -> dict[str, Any]:
    low, middle, high = np.quantile(floor, [0.05, 0.5, 0.95])
    return {
        "plugin": top,
        "floor": float(floor.mean(dtype=np.float64)),
        "floor_quantiles": (float(low), float(middle), float(high)),
        "p": test.p,
        "p_plugin": test.p_plugin,
    }


def _missing(
    panel: Panel, scores: Floats, rates: Rates, measure: Measure, used: npt.NDArray[np.intp]
) -> dict[str, Any]:
    found = missing_scores(panel, scores, rates, measure, used)
    return {"missing": found.share, "plugin_least": found.least, "plugin_most": found.most}


def _insufficient(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds | None,
    measure: Measure,
    aggregate: Aggregate,
    level: float,
) -> Disparity:
    rates = measure_rates(panel, scores, measure, thresholds)
    none = np.zeros(0, dtype=np.intp)
    gone: Any = float("nan")
    return Disparity(
        **_head(panel, rates, none, measure, aggregate, level),
        **dict.fromkeys(_NUMBERS, gone),
        floor_quantiles=(gone, gone, gone),
        status="insufficient",
        objects=object_table(panel, rates, none, None, level),
    )
