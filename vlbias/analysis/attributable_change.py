"""What an intervention changes, and what of it is its own: named statements, each with its limits.

An intervention is a mitigation or a world. Four statements are kept apart, since each can hold without
the others:

(a) B itself changed: limits of the change of the sum of absolute gaps, not of an estimator's expectation.
(b) In the direction of the gaps that the model has (B_lin), more changed than equal strictness explains:
    against the unchanged model with its thresholds matched class by class, and with one shift.
(c) More changed, at the same strictness, than under the placebo.
(d) Performance is kept: see `retention`.

Only (a) says that bias is reduced. (b) and (c) have far more power, and say what the intervention does to
the gaps that were there, not whether others came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.disparity_changes import FunctionalName
from vlbias.analysis.effects import combine
from vlbias.analysis.functionals import crossfit
from vlbias.analysis.inference import permutation_p
from vlbias.analysis.matched_thresholds import matched_by_class, matching_shift, mean_fpr
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, measure_rates
from vlbias.errors import BadStudy

__all__ = ["DIRECTION", "AttributableChange", "Decision", "Scored", "attributable_change", "decide"]

Decision = Literal["reduced", "increased", "not shown"]

DIRECTION: FunctionalName = "B_lin"
"""The functional of statements (b) and (c)."""

RANDOM_PLACEBOS = 19
"""Draws of a random placebo from which on its rank is a test at 5 %."""

_FUNCTIONALS: tuple[FunctionalName, ...] = ("B_plugin", "B_crossfit", "B_lin", "score_gap_lin")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one condition and the operating point that was calibrated for it.

    Args:
        scores: [S, K].
        thresholds: [K], calibrated on another split of the same condition.
    """

    scores: Floats
    thresholds: Thresholds


@dataclass(frozen=True, eq=False)
class AttributableChange:
    """The change that an intervention makes, and its comparisons.

    Args:
        table: Rows of `effects.combine`, effects "intervention - null", "threshold - null",
            "intervention - threshold", "class thresholds - null", "intervention - class thresholds", and with
            placebos "placebo - class thresholds" (their mean) and "intervention - placebo" (each over
            its own class thresholds).
        photos: Images that all these conditions have, and that are compared.
        null: Cross-fit B of the null condition on them.
        fpr_null: Mean false-positive rate of the null condition.
        fpr: Of the intervention, and of both threshold baselines.
        placebos: Number of placebos.
        placebo_rank_p: Two-sided rank p of the intervention's change of `DIRECTION` among its placebos,
            NaN with fewer than `RANDOM_PLACEBOS`.
    """

    table: pd.DataFrame
    photos: int
    null: float
    fpr_null: float
    fpr: float
    placebos: int
    placebo_rank_p: float

    @property
    def decision(self) -> Decision:
        """Statement (a), by the limits of the change of B."""
        row = self.row("intervention - null", "B_plugin")
        return decide(row["lo"], row["hi"])

    def row(self, effect: str, functional: str = DIRECTION) -> pd.Series:
        """One row of the table.

        Raises:
            KeyError: if it is not there.
        """
        found = self.table[
            (self.table["effect"] == effect) & (self.table["functional"] == functional)
        ]
        if found.empty:
            raise KeyError(f"{effect}, {functional}")
        return found.iloc[0]


def decide(lo: float, hi: float) -> Decision:
    """The word for a change with these limits."""
    if hi < 0:
        return "reduced"
    return "increased" if lo > 0 else "not shown"


def attributable_change(
    panel: Panel,
    null: Scored,
    intervention: Scored,
    placebos: Mapping[str, Scored] | None = None,
    *,
    objects: npt.NDArray[np.intp],
    rng: np.random.Generator,
    signs: Mapping[Measure, npt.NDArray[np.float64]] | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> AttributableChange:
    """The change of an intervention with its comparisons; limits are paired over images.

    Args:
        panel: The images that are reported on.
        null: Without the intervention.
        intervention: With it.
        placebos: Name to the same operation where it should do nothing.
        objects: Columns with support, fixed on the null condition.
        rng: Seeded generator.
        signs: From held-out images, see `object_support.held_out_signs`; cross-fitted if not given.
        draws: Multiplier draws.
        level: Of the limits and the decision.

    Raises:
        BadStudy: if no object has support, or a mean false-positive rate cannot be matched.
    """
    if len(objects) == 0:
        raise BadStudy("objects", "none", "an object with enough images and events in every group")
    given = {"intervention": intervention, **(placebos or {})}
    missing = np.any([np.isnan(one.scores) for one in (null, *given.values())], axis=0)
    base = np.where(missing, np.nan, null.scores)
    arms, limits, matched = {"null": base}, {"null": null.thresholds}, {}
    for name, one in given.items():
        arms[name], limits[name] = np.where(missing, np.nan, one.scores), one.thresholds
        by_class = f"class thresholds of {name}"
        arms[by_class], matched[by_class] = base, name
        limits[by_class] = matched_by_class(panel, base, arms[name], one.thresholds, objects)
    rate = mean_fpr(panel, arms["intervention"], intervention.thresholds, objects)
    shift = matching_shift(panel, base, null.thresholds, rate, objects)
    arms["threshold"], limits["threshold"] = base, null.thresholds + shift
    names = list(placebos or {})
    table = combine(
        panel, arms, [*_against_thresholds(), *_against_placebos(names)], base="null", rng=rng,
        thresholds=limits, functionals=_FUNCTIONALS, signs=signs, objects=objects, matched=matched,
        draws=draws, level=level,
    )  # fmt: skip
    rates = measure_rates(panel, base, "fpr", null.thresholds, objects=objects)
    single = table["effect"].str.startswith("single ")
    return AttributableChange(
        table[~single].reset_index(drop=True),
        int((~missing).all(axis=1).sum()),
        float(crossfit(rates.gap, rates.spread)),
        mean_fpr(panel, base, null.thresholds, objects),
        rate,
        len(names),
        _rank_p(table, single),
    )


def _against_thresholds() -> list[Combination]:
    return [
        Combination("intervention - null", {"intervention": 1, "null": -1}),
        Combination("threshold - null", {"threshold": 1, "null": -1}),
        Combination("intervention - threshold", {"intervention": 1, "threshold": -1}),
        Combination("class thresholds - null", {"class thresholds of intervention": 1, "null": -1}),
        Combination("intervention - class thresholds", _over_class_thresholds("intervention")),
    ]


def _over_class_thresholds(name: str, share: float = 1.0) -> dict[str, float]:
    return {name: share, f"class thresholds of {name}": -share}


def _against_placebos(names: list[str]) -> list[Combination]:
    if not names:
        return []
    mean = {k: v for name in names for k, v in _over_class_thresholds(name, 1 / len(names)).items()}
    own = _over_class_thresholds("intervention") | {name: -c for name, c in mean.items()}
    found = [
        Combination("placebo - class thresholds", mean),
        Combination("intervention - placebo", own),
    ]
    if len(names) >= RANDOM_PLACEBOS:
        found += [Combination(f"single {name}", _over_class_thresholds(name)) for name in names]
    return found


def _rank_p(table: pd.DataFrame, single: pd.Series) -> float:
    """Where the intervention's change stands among those of single placebos, on both sides."""
    rows = table[table["functional"] == DIRECTION]
    drawn = rows.loc[single[rows.index], "estimate"].to_numpy(float)
    if not len(drawn):
        return float("nan")
    effect = rows["effect"] == "intervention - class thresholds"
    own = float(rows.loc[effect, "estimate"].iloc[0])
    return min(1.0, 2 * min(permutation_p(own, drawn), permutation_p(-own, -drawn)))
