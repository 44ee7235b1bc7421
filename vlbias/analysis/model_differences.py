"""Whether one model has more bias than another on the same photos: paired differences of B."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arm_estimates import fit_arm, fit_null
from vlbias.analysis.bounds_of_b import BoundsOfB, bounds_of_b, gap_errors
from vlbias.analysis.corrections import holm
from vlbias.analysis.inference import bounded, interval, multipliers
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Rates, Thresholds, Window
from vlbias.analysis.threshold_error import moved_rates
from vlbias.errors import BadTable

__all__ = ["LEVEL", "ScoredModel", "model_differences"]

LEVEL = 0.05
"""Probability of any false statement over all pairs."""


@dataclass(frozen=True, eq=False)
class ScoredModel:
    """Scores of a model and its own operating point.

    Args:
        scores: [S, K].
        thresholds: [K].
        drawn: [D, K] thresholds that other calibration photos might have given
            (`threshold_error.threshold_draws`, with the same clusters in every draw for all models); None
            where thresholds are given.
    """

    scores: Floats
    thresholds: Thresholds
    drawn: npt.NDArray[np.float64] | None = None


def model_differences(
    panel: Panel,
    models: Mapping[str, ScoredModel],
    *,
    objects: npt.NDArray[np.intp],
    rng: np.random.Generator,
    draws: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Differences of B between all pairs of models, paired over clusters, corrected by Holm.

    The difference is that of the cross-fit estimates, with Student's limits from draws that both models
    share. Its expectation is that of B where gaps are larger than their errors; where they are not, both
    models' are smaller, over the same photos by nearly the same factor. `B_lo` and `B_hi` are limits of the
    difference of B itself, whatever the gaps are: wide, since they bound what noise hides in either model.

    Args:
        panel: The photos that all models saw.
        models: Name to scores and thresholds.
        objects: Columns with support in every model.
        rng: Seeded generator.
        draws: Multiplier draws.
        level: Of the limits.

    Returns:
        One row per pair: first, second, difference (first minus second, a sum over objects of rates), se, df,
        lo, hi, p, p_holm, B_lo, B_hi, photos, n_objects, said ("more", "less" or "not shown", of the first).

    Raises:
        BadTable: if shapes disagree, or there is no object that all models support.
    """
    if not len(objects):
        raise BadTable("no object has enough photos and false positives in every model")
    scores = {name: panel.check_scores(name, one.scores) for name, one in models.items()}
    valid = np.all([~np.isnan(array) for array in scores.values()], axis=0)
    weights = multipliers(panel.layout, draws, rng)
    window = Window.of(panel, "fpr", valid, objects)
    if not (window.count > 0).all():
        raise BadTable("an object has no photo of a group that all models have scores of")
    fitted = {
        name: _fit(
            panel, np.where(valid, scores[name], np.nan), one, window.rates(scores[name], one.thresholds),
            weights, objects,
        )
        for name, one in models.items()
    }  # fmt: skip
    rows = [
        {"first": a, "second": b, **_difference(fitted[a], fitted[b], level)}
        for a, b in combinations(models, 2)
    ]
    table = pd.DataFrame(rows)
    photos = int(valid[:, objects].all(axis=1).sum())
    table = table.assign(p_holm=holm(table["p"]), photos=photos, n_objects=len(objects))
    way = np.where(table["difference"] > 0, "more", "less")
    return table.assign(said=np.where(table["p_holm"] <= LEVEL, way, "not shown"))


@dataclass(frozen=True, eq=False)
class _Fitted:
    rates: Rates
    error: Floats
    bounds: BoundsOfB


def _fit(
    panel: Panel,
    scores: Floats,
    model: ScoredModel,
    rates: Rates,
    weights: Floats,
    objects: npt.NDArray[np.intp],
) -> _Fitted:
    moved = None
    if model.drawn is not None:
        moved = moved_rates(panel, scores, "fpr", model.thresholds, model.drawn, objects)
    error = gap_errors(rates, weights, moved)
    return _Fitted(rates, error, bounds_of_b(rates, error))


def _paired_draws(first: _Fitted, second: _Fitted) -> Floats:
    """[Z, D] draws of the first cross-fit minus the second, each model once as the other's base.

    Centres of the draws are one model's shrunken gaps, and these plus the shrunken change. Gaps shrunk for each
    model alone would differ by noise where the models do not.
    """
    both = []
    for base, other, sign in ((first, second, 1), (second, first, -1)):
        null = fit_null(base.rates, base.error, frozenset({"crossfit"}))
        arm = fit_arm(null, other.rates, other.error, frozenset({"crossfit"}))
        both.append(sign * (null.arm.draws["crossfit"] - arm.draws["crossfit"]))
    return np.concatenate(both)


def _difference(one: _Fitted, other: _Fitted, level: float) -> dict[str, float]:
    first, second = one.bounds, other.bounds
    estimate = first.crossfit[0] - second.crossfit[0]
    df = min(first.df, second.df)
    found = interval(estimate, _paired_draws(one, other), level, df=df)
    below = first.crossfit[0] - second.plugin[0], first.crossfit[1] - second.plugin[1]
    above = first.plugin[0] - second.crossfit[0], first.plugin[1] - second.crossfit[1]
    lo, hi = bounded(below, above, level, df=df)
    numbers = {"se": found.se, "df": df, "lo": found.lo, "hi": found.hi, "p": found.p}
    return {"difference": estimate, **numbers, "B_lo": lo, "B_hi": hi}
