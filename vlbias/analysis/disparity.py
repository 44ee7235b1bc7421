"""The disparity of one arm: sum over objects of the gap between groups, with its floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arms import fit_base
from vlbias.analysis.inference import bounded, check_level, interval, multipliers
from vlbias.analysis.objects import object_table
from vlbias.analysis.panel import Floats, Layout, Panel
from vlbias.analysis.permutation import Aggregate, LabelTest, aggregate_gaps, label_test
from vlbias.analysis.rates import Measure, Rates, Thresholds, group_pairs, measure_rates
from vlbias.errors import BadStudy

__all__ = ["Disparity", "crossfit_halvings", "disparity", "held_out_signs", "support"]


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
        floor: Its mean under permuted labels.
        floor_quantiles: Its 5, 50 and 95 % quantiles under permuted labels.
        p: Of the studentised label-permutation test.
        p_plugin: Of the same test with the plug-in as statistic.
        crossfit: Sign from one half, size from the other, mean over halvings; expectation <= B.
        lo: Lower limit for B itself.
        hi: Upper limit for B itself.
        crossfit_lo: Lower limit for the expectation of `crossfit`.
        crossfit_hi: Upper limit for it.
        squared: Unbiased estimate of the sum of squared gaps.
        signed: Sum of gaps, first group minus second, mean over pairs.
        relative: plugin over the sum of mean rates.
        level: Of the limits.
        status: "ok", or "insufficient" where no object has support.
        objects: One row per object, also those without support; see `objects.object_table`.
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
    level: float
    status: str
    objects: pd.DataFrame

    @property
    def is_within_floor(self) -> bool:
        """Whether the plug-in is no larger than 95 % of what permuted labels give."""
        return not self.plugin > self.floor_quantiles[2]

    def frame(self) -> pd.DataFrame:
        """One row with every number but the objects."""
        row: dict[str, Any] = {k: v for k, v in vars(self).items() if k not in ("n", "objects")}
        low, middle, high = row.pop("floor_quantiles")
        row |= {"floor_q05": low, "floor_q50": middle, "floor_q95": high}
        row |= {f"n_{name}": count for name, count in self.n.items()}
        return pd.DataFrame([row | {"is_within_floor": self.is_within_floor}])


def support(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds | None,
    *,
    measure: Measure = "fpr",
    min_count: int = 50,
    min_events: float = 5.0,
) -> npt.NDArray[np.intp]:
    """Columns of the objects that have enough data; fix them on the null arm, then keep them.

    An object is used if every group has at least `min_count` images in the denominator and, for
    rates, at least `min_events` expected events at the rate pooled over groups. The pooled rate
    does not look at the gap, so the choice does not favour large or small gaps.
    """
    rates = measure_rates(panel, scores, measure, thresholds)
    enough = np.asarray((rates.count >= min_count).all(axis=0))
    if measure != "score":
        total = rates.count.sum(axis=0)
        pooled = (rates.value * rates.count).sum(axis=0) / np.maximum(total, 1)
        for rate in (pooled, 1 - pooled) if measure == "tpr" else (pooled,):
            enough &= (rate * rates.count).min(axis=0) >= min_events
    return np.flatnonzero(enough)


def held_out_signs(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds | None,
    *,
    measure: Measure = "fpr",
    objects: npt.NDArray[np.intp],
) -> npt.NDArray[np.float64]:
    """[P, K'] signs of the gaps on images that the effects will not be estimated on."""
    return np.sign(measure_rates(panel, scores, measure, thresholds, objects=objects).gap)


def crossfit_halvings(
    rates_num: Floats,
    rates_den: Floats,
    layout: Layout,
    *,
    aggregate: Aggregate = "pairwise",
    halvings: int = 50,
    rng: np.random.Generator,
) -> float:
    """Cross-fit sum of gaps over drawn halvings, both directions.

    Args:
        rates_num: [M, K] numerators per cell.
        rates_den: [M, K] denominators per cell.
        layout: Cells and groups; halves are balanced within groups.
        aggregate: How k groups become one gap.
        halvings: Number of random halvings, at least 50 advised.
        rng: Seeded generator.
    """
    half = _halves(layout, halvings, rng)
    first, second = [], []
    for span in layout.spans:
        num, den = rates_num[span], rates_den[span]
        a, b = half[:, span] @ num, half[:, span] @ den
        first.append(a / np.maximum(b, 1))
        rest = np.maximum(den.sum(axis=0) - b, 1)
        second.append((num.sum(axis=0) - a) / rest)
    x, y = np.stack(first, axis=1), np.stack(second, axis=1)  # [R, k, K]
    forth, back = _directed(x, y, aggregate), _directed(y, x, aggregate)
    return float((forth + back).mean() / 2)


def _halves(layout: Layout, halvings: int, rng: np.random.Generator) -> Floats:
    if layout.straddles:
        flat = np.arange(layout.n_clusters) % 2
        drawn = rng.permuted(np.tile(flat, (halvings, 1)), axis=1)
        return drawn[:, layout.cluster].astype(np.float32)
    parts = [
        rng.permuted(np.tile(np.arange(s.stop - s.start) % 2, (halvings, 1)), axis=1)
        for s in layout.spans
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _directed(sign_from: Floats, size_from: Floats, aggregate: Aggregate) -> Floats:
    """[R] gaps of one half in the direction that the other half names."""
    if aggregate == "range":
        top, bottom = sign_from.argmax(axis=1), sign_from.argmin(axis=1)
        pick = np.take_along_axis
        gap = pick(size_from, top[:, None], 1) - pick(size_from, bottom[:, None], 1)
        total: Floats = gap[:, 0].sum(axis=-1)
        return total
    pairs = group_pairs(sign_from.shape[1])
    parts = [
        np.sign(sign_from[:, g] - sign_from[:, h]) * (size_from[:, g] - size_from[:, h])
        for g, h in pairs
    ]
    total = np.mean(parts, axis=0).sum(axis=-1)
    return total


def _counts(
    panel: Panel,
    scores: Floats,
    measure: Measure,
    thresholds: Thresholds | None,
    objects: npt.NDArray[np.intp],
) -> tuple[Floats, Floats]:
    layout = panel.layout
    window = np.ix_(layout.order, objects)
    seen = scores[window]
    use = (panel.present[window] == (measure == "tpr")) & ~np.isnan(seen)
    if measure == "score" or thresholds is None:
        value = np.where(use, seen, 0.0)
    else:
        value = (use & (seen >= thresholds[objects])).astype(np.float64)
    return layout.cells(value.astype(np.float64)), layout.cells(use.astype(np.float64))


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
    halvings: int = 50,
    draws: int = 2000,
    level: float = 0.95,
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
        permutations: Draws of the permutation test and floor.
        halvings: Random halvings of the cross-fit.
        draws: Multiplier draws for the limits.
        level: Of the limits.

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
    if len(used) == 0:
        return _insufficient(panel, array, thresholds, measure, aggregate, level)
    test = label_test(
        panel, array, thresholds, measure=measure, objects=used, aggregate=aggregate,
        strata=strata, permutations=permutations, rng=rng,
    )  # fmt: skip
    weights = multipliers(panel.layout, draws, rng)
    arm = fit_base(rates, weights, frozenset({"plugin", "crossfit"})).arm
    own = interval(arm.value["crossfit"], arm.draws["crossfit"], level)
    top = float(aggregate_gaps(rates.value, aggregate).sum())
    upper = (
        (top, arm.draws["plugin"])
        if len(panel.groups) == 2 or aggregate == "pairwise"
        else (top, _range_draws(rates, weights, arm.centre))
    )
    lo, hi = bounded((own.estimate, arm.draws["crossfit"]), upper, level)
    numerator, denominator = _counts(panel, array, measure, thresholds, used)
    fitted = crossfit_halvings(
        numerator, denominator, panel.layout, aggregate=aggregate, halvings=halvings, rng=rng
    )
    shift = fitted - own.estimate if aggregate == "pairwise" else np.nan
    table = object_table(panel, measure_rates(panel, array, measure, thresholds), used, test, level)
    return Disparity(
        **_head(panel, rates, used, measure, aggregate, level),
        **_tests(top, test),
        crossfit=fitted,
        lo=max(0.0, lo),
        hi=hi,
        crossfit_lo=own.lo + shift,
        crossfit_hi=own.hi + shift,
        squared=float((rates.gap**2 - rates.spread**2).mean(axis=0).sum()),
        signed=float(rates.gap.mean(axis=0).sum()),
        relative=top / float(rates.value.mean(axis=0).sum()) if measure != "score" else np.nan,
        status="ok",
        objects=table,
    )


def _range_draws(rates: Rates, weights: Floats, centre: float) -> Floats:
    """[2, D] draws of the sum over objects of largest minus smallest group rate."""
    error = np.stack([weights[:, s] @ rates.residual[s] for s in rates.layout.spans], axis=1)
    middle = centre * (rates.value - rates.value.mean(axis=0))
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


def _tests(top: float, test: LabelTest) -> dict[str, Any]:
    low, middle, high = np.quantile(test.floor, [0.05, 0.5, 0.95])
    return {
        "plugin": top,
        "floor": float(test.floor.mean()),
        "floor_quantiles": (float(low), float(middle), float(high)),
        "p": test.p,
        "p_plugin": test.p_plugin,
    }


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
    gone = float("nan")
    return Disparity(
        **_head(panel, rates, none, measure, aggregate, level),
        plugin=gone,
        floor=gone,
        floor_quantiles=(gone, gone, gone),
        p=gone,
        p_plugin=gone,
        crossfit=gone,
        lo=gone,
        hi=gone,
        crossfit_lo=gone,
        crossfit_hi=gone,
        squared=gone,
        signed=gone,
        relative=gone,
        status="insufficient",
        objects=object_table(panel, rates, none, None, level),
    )
