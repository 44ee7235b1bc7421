"""Where the threshold is set: calibration, and B over a grid."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.functionals import crossfit, plugin
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, measure_rates
from vlbias.errors import BadStudy

__all__ = ["calibrate", "grid"]

Rule = Literal["count", "fpr"]


def calibrate(
    panel: Panel, scores: npt.ArrayLike, rule: Rule = "count", *, fpr: float = 0.05
) -> Thresholds:
    """[K] thresholds from the images of a calibration split, blind to the groups.

    Rules: "count" lets as many images through as truly contain the object (Wang & Russakovsky,
    ICML 2021); "fpr" lets through the given share of the images without it. Where equal scores do
    not allow that number, the threshold is the one that comes nearest without letting through more:
    scores of half precision, or one lowest score for all that was not found, would else let through
    everything. An object that the rule cannot place (never present, never absent, or more images tied
    at the top than wanted) gets an infinite threshold: it is never predicted, has no events, and so
    comes out as "insufficient", not as 0. For thresholds
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
    """The smallest score that no more than `wanted` of the pool reach; infinite if every one has more."""
    upper = np.partition(pool, len(pool) - wanted)[len(pool) - wanted]
    if np.count_nonzero(pool >= upper) > wanted:
        above = pool[pool > upper]
        return float(above.min()) if len(above) else float("inf")
    return float(upper)


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
