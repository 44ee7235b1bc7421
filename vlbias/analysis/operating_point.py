"""Where the threshold is set: calibration, B over a grid, and what a threshold alone achieves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.effects import combine
from vlbias.analysis.functionals import crossfit, plugin
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, measure_rates
from vlbias.errors import BadStudy

__all__ = ["Attributable", "attributable", "calibrate", "grid", "matching_shift", "mean_fpr"]

Rule = Literal["count", "fpr"]


def calibrate(
    panel: Panel, scores: npt.ArrayLike, rule: Rule = "count", *, fpr: float = 0.05
) -> Thresholds:
    """[K] thresholds from the images of a calibration split, blind to the groups.

    Rules: "count" lets as many images through as truly contain the object (Wang & Russakovsky,
    ICML 2021); "fpr" lets through the given share of the images without it. An object that the
    rule cannot place (never present, or never absent) gets an infinite threshold: it is never
    predicted, has no events, and so comes out as "insufficient", not as 0. For thresholds
    per condition call this once for each condition's scores.

    Args:
        panel: The calibration images; `panel.take(panel.index(split="fit"))`.
        scores: [S, K] of the condition.
        rule: "count" or "fpr".
        fpr: Share for "fpr".

    Raises:
        BadStudy: if the rule is unknown or `fpr` is not between 0 and 1.
    """
    array = panel.check_scores("calibration scores", scores)
    if rule not in ("count", "fpr"):
        raise BadStudy("threshold rule", rule, "'count' or 'fpr'")
    if not 0 < fpr < 1:
        raise BadStudy("fpr", fpr, "a share between 0 and 1, for example 0.05")
    found = np.full(len(panel.targets), np.inf)
    for column in range(len(panel.targets)):
        seen = ~np.isnan(array[:, column])
        present = panel.present[:, column]
        if rule == "count":
            pool, wanted = array[seen, column], int((present & seen).sum())
        else:
            pool = array[seen & ~present, column]
            wanted = round(fpr * len(pool))
        if 0 < wanted < len(pool):
            found[column] = _between(pool, wanted)
    return found


def _between(pool: Floats, wanted: int) -> float:
    """The largest threshold that at least `wanted` of the pool reach."""
    upper = np.partition(pool, len(pool) - wanted)[len(pool) - wanted]
    return float(upper)


def mean_fpr(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds,
    objects: npt.NDArray[np.intp] | None = None,
) -> float:
    """Mean over objects of the false-positive rate of all groups together."""
    rates = measure_rates(panel, scores, "fpr", thresholds, objects=objects)
    count = rates.count.sum(axis=0)
    return float(((rates.value * rates.count).sum(axis=0) / np.maximum(count, 1)).mean())


def matching_shift(
    panel: Panel,
    y0: Floats,
    thresholds: Thresholds,
    target: float,
    objects: npt.NDArray[np.intp],
) -> float:
    """The shift of all thresholds at which the null arm has the mean FPR `target`.

    Raises:
        BadStudy: if no shift reaches it.
    """
    margin = y0[:, objects] - thresholds[objects]
    use = ~(panel.present[:, objects] | np.isnan(margin))
    weight = np.broadcast_to(1 / np.maximum(use.sum(axis=0), 1) / len(objects), use.shape)[use]
    if not 0 <= target <= 1 + 1e-9 or not use.any():
        raise BadStudy("mean FPR to match", target, "a rate that moving the thresholds can reach")
    order = np.argsort(-margin[use])
    sorted_margin = margin[use][order]
    # mean FPR when the first i entries pass, i = 0 ... all
    passed = np.concatenate([[0.0], np.cumsum(weight[order])])
    # a class that a detector did not find has the score -inf, which no shift can reach
    reached = int(np.isfinite(sorted_margin).sum())
    nearest = int(np.argmin(np.abs(passed[: reached + 1] - target)))
    above = sorted_margin[nearest - 1] if nearest else sorted_margin[0] + 2.0
    below = sorted_margin[nearest] if nearest < len(sorted_margin) else sorted_margin[-1] - 2.0
    if not reached:
        return 0.0  # no object was found at all: no threshold finds one
    return float((above + (below if np.isfinite(below) else above - 2.0)) / 2)


@dataclass(frozen=True, eq=False)
class Attributable:
    """What a mitigation achieves beyond a threshold.

    Args:
        table: Rows of `effects.combine`: "mitigated - null", "threshold - null" and "mitigated -
            threshold", the last being the change attributable to the mitigation (negative: less
            bias).
        shift: Of all thresholds of the null arm to the mitigated arm's mean FPR.
        fpr_null: Mean FPR of the null arm at its thresholds.
        fpr_mitigated: Mean FPR of the mitigated arm, and of the null arm after the shift.
        decision: "reduced", "increased" or "not shown", by the limits of the attributable change
            of B_crossfit.
    """

    table: pd.DataFrame
    shift: float
    fpr_null: float
    fpr_mitigated: float
    decision: Literal["reduced", "increased", "not shown"]


def attributable(
    panel: Panel,
    y0: npt.ArrayLike,
    mitigated: npt.ArrayLike,
    thresholds: Thresholds,
    *,
    rng: np.random.Generator,
    objects: npt.NDArray[np.intp] | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> Attributable:
    """Compares a mitigation with the threshold that gives the same mean FPR without it.

    A detector that says "present" less often has smaller gaps at no merit of its own. Only the
    difference to the threshold-only baseline is attributed to the mitigation.

    Args:
        panel: Images, groups, presence.
        y0: [S, K] null scores.
        mitigated: [S, K] scores with the mitigation, on the same scale.
        thresholds: [K], used for both.
        rng: Seeded generator.
        objects: Columns with support; found on the null arm if not given.
        draws: Multiplier draws.
        level: Of the limits and the decision.

    Raises:
        BadStudy: if no object has support, or the mean FPR cannot be matched.
    """
    first, other = panel.check_scores("y0", y0), panel.check_scores("mitigated", mitigated)
    missing = np.isnan(first) | np.isnan(other)
    first, other = np.where(missing, np.nan, first), np.where(missing, np.nan, other)
    used = support(panel, first, thresholds) if objects is None else objects
    if len(used) == 0:
        raise BadStudy("objects", "none", "an object with 50 images and 5 events in every group")
    rate = mean_fpr(panel, other, thresholds, used)
    shift = matching_shift(panel, first, thresholds, rate, used)
    table = combine(
        panel,
        {"null": first, "mitigated": other, "threshold": first},
        (
            Combination("mitigated - null", {"mitigated": 1, "null": -1}),
            Combination("threshold - null", {"threshold": 1, "null": -1}),
            Combination("mitigated - threshold", {"mitigated": 1, "threshold": -1}),
        ),
        base="null",
        rng=rng,
        thresholds={"null": thresholds, "mitigated": thresholds, "threshold": thresholds + shift},
        functionals=("B_plugin", "B_crossfit", "B_lin"),
        objects=used,
        draws=draws,
        level=level,
    )
    key = (table["effect"] == "mitigated - threshold") & (table["functional"] == "B_crossfit")
    row = table[key].iloc[0]
    return Attributable(
        table, shift, mean_fpr(panel, first, thresholds, used), rate, _decide(row["lo"], row["hi"])
    )


def _decide(lo: float, hi: float) -> Literal["reduced", "increased", "not shown"]:
    if hi < 0:
        return "reduced"
    return "increased" if lo > 0 else "not shown"


def grid(
    panel: Panel,
    arms: dict[str, npt.ArrayLike],
    targets: npt.ArrayLike = (0.005, 0.01, 0.02, 0.05, 0.1),
    *,
    base: str,
    measure: Measure = "fpr",
    fit: tuple[Panel, Mapping[str, npt.ArrayLike]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """B of each arm over a grid of operating points, and the area under it.

    At each point every arm has per-object thresholds of its own with the same FPR over all groups
    together, so that conditions are compared at equal strictness.

    Args:
        panel: Images, groups, presence.
        arms: Condition to [S, K] scores.
        targets: False-positive rates.
        base: The arm that fixes the objects at each point.
        measure: "fpr" or "tpr".
        fit: Images that the thresholds are taken from, with the scores of every arm; the panel
            itself if not given.

    Returns:
        A frame with columns arm, fpr, B_plugin, B_crossfit, n_objects; and one with arm, area of
        B_crossfit and B_plugin over log10 FPR divided by its range. A point at which no object has
        support is insufficient: no objects, NaN, and no part of the area. At all others the set of
        objects is the same, those that have support at each of them.
    """
    points = np.sort(np.asarray(targets, dtype=np.float64))
    scores = {name: panel.check_scores(name, y) for name, y in arms.items()}
    source, fitted = (panel, scores) if fit is None else fit
    limits = {
        (name, f): calibrate(source, fitted[name], "fpr", fpr=float(f))
        for name in scores
        for f in points
    }
    used = {f: support(panel, scores[base], limits[base, f], measure=measure) for f in points}
    found = [objects for objects in used.values() if len(objects)]
    shared = reduce(np.intersect1d, found) if found else np.array([], dtype=np.intp)
    rows = []
    for (name, f), limit in limits.items():
        if not len(used[f]) or not len(shared):
            rows.append((name, f, np.nan, np.nan, 0))
            continue
        rates = measure_rates(panel, scores[name], measure, limit, objects=shared)
        sums = float(plugin(rates.gap)), float(crossfit(rates.gap, rates.spread))
        rows.append((name, f, *sums, len(shared)))
    frame = pd.DataFrame(rows, columns=["arm", "fpr", "B_plugin", "B_crossfit", "n_objects"])
    return frame, _areas(frame)


def _areas(frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, whole in frame.groupby("arm", sort=False):
        part = whole[whole["n_objects"] > 0]
        if part.empty:
            rows.append({"arm": name, "area_B_plugin": np.nan, "area_B_crossfit": np.nan})
            continue
        x = np.log10(part["fpr"].to_numpy())
        width = x[-1] - x[0]
        rows.append(
            {"arm": name}
            | {
                f"area_{f}": float(np.trapezoid(part[f], x) / width)
                if width
                else float(part[f].iloc[0])
                for f in ("B_plugin", "B_crossfit")
            }
        )
    return pd.DataFrame(rows)
