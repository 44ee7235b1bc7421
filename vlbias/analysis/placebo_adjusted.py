"""What of a mitigation's reduction is its own: over a moved threshold, and over its placebo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.disparity_changes import FunctionalName
from vlbias.analysis.effects import combine
from vlbias.analysis.functionals import crossfit
from vlbias.analysis.operating_point import matching_shift, mean_fpr
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, measure_rates
from vlbias.errors import BadStudy

__all__ = ["DECIDES", "PlaceboAdjusted", "Scored", "pareto", "placebo_adjusted"]

Decision = Literal[
    "reduced",
    "reduced, not shown beyond its placebo",
    "reduced, no placebo run",
    "increased",
    "not distinguishable",
]

DECIDES: FunctionalName = "B_crossfit"
"""The functional that decides; B_lin would call it a reduction when gaps grow the other way."""


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
class PlaceboAdjusted:
    """What a mitigation achieves, and what of it is not its own.

    Args:
        table: Rows of `effects.combine`, effects "mitigated - null", "threshold - null",
            "mitigated - threshold", and with placebos "placebo - threshold" and "attributable",
            which is the mitigation's minus the mean of its placebos', each over the threshold.
        photos: Images that all these conditions could be run on, and that are compared.
        null: `DECIDES` of the null condition on them.
        fpr_null: Mean false-positive rate of the null condition.
        fpr: Of the mitigated condition, and of the moved threshold that stands against it.
        decision: In words; negative limits of `DECIDES` over threshold and placebo both are asked for.
    """

    table: pd.DataFrame
    photos: int
    null: float
    fpr_null: float
    fpr: float
    decision: Decision

    def row(self, effect: str, functional: str = DECIDES) -> pd.Series:
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


def placebo_adjusted(
    panel: Panel,
    null: Scored,
    mitigated: Scored,
    placebos: Mapping[str, Scored],
    *,
    objects: npt.NDArray[np.intp],
    rng: np.random.Generator,
    signs: Mapping[Measure, npt.NDArray[np.float64]] | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> PlaceboAdjusted:
    """The reduction that is attributable to a mitigation, with limits paired over images.

    Against every condition stands the null condition with all thresholds moved until it has the same
    mean false-positive rate: a stricter model has smaller gaps at no merit of its own.

    Args:
        panel: The images that are reported on.
        null: Without any mitigation.
        mitigated: With it.
        placebos: Name to the same operation where it should do nothing; may be empty.
        objects: Columns with support, fixed on the null condition.
        rng: Seeded generator.
        signs: From held-out images, see `support.held_out_signs`; cross-fitted if not given.
        draws: Multiplier draws.
        level: Of the limits and the decision.

    Raises:
        BadStudy: if no object has support, or a mean false-positive rate cannot be matched.
    """
    if len(objects) == 0:
        raise BadStudy("objects", "none", "an object with enough images and events in every group")
    given = {"mitigated": mitigated, **placebos}
    missing = np.any([np.isnan(one.scores) for one in (null, *given.values())], axis=0)
    base = np.where(missing, np.nan, null.scores)
    arms, limits = {"null": base}, {"null": null.thresholds}
    rates = {}
    for name, one in given.items():
        arms[name], limits[name] = np.where(missing, np.nan, one.scores), one.thresholds
        rates[name] = mean_fpr(panel, arms[name], one.thresholds, objects)
        shift = matching_shift(panel, base, null.thresholds, rates[name], objects)
        arms[f"threshold of {name}"] = base
        limits[f"threshold of {name}"] = null.thresholds + shift
    table = combine(
        panel, arms, _combinations(list(placebos)), base="null", rng=rng, thresholds=limits,
        functionals=("B_plugin", "B_crossfit", "B_lin", "score_gap_lin"), signs=signs,
        objects=objects, draws=draws, level=level,
    )  # fmt: skip
    found = PlaceboAdjusted(
        table,
        int((~missing).all(axis=1).sum()),
        _value(panel, base, null.thresholds, objects),
        mean_fpr(panel, base, null.thresholds, objects),
        rates["mitigated"],
        "not distinguishable",
    )
    return replace(found, decision=_decide(found, bool(placebos)))


def _value(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds,
    objects: npt.NDArray[np.intp],
) -> float:
    rates = measure_rates(panel, scores, "fpr", thresholds, objects=objects)
    return float(crossfit(rates.gap, rates.spread))


def _combinations(placebos: list[str]) -> list[Combination]:
    own = {"mitigated": 1.0, "threshold of mitigated": -1.0}
    wanted = [
        Combination("mitigated - null", {"mitigated": 1, "null": -1}),
        Combination("threshold - null", {"threshold of mitigated": 1, "null": -1}),
        Combination("mitigated - threshold", own),
    ]
    if placebos:
        share = 1 / len(placebos)
        theirs = {name: share for name in placebos}
        theirs |= {f"threshold of {name}": -share for name in placebos}
        wanted += [
            Combination("placebo - threshold", theirs),
            Combination("attributable", own | {name: -c for name, c in theirs.items()}),
        ]
    return wanted


def _decide(found: PlaceboAdjusted, has_placebo: bool) -> Decision:
    over_threshold = found.row("mitigated - threshold")
    if over_threshold["lo"] > 0:
        return "increased"
    if not over_threshold["hi"] < 0:
        return "not distinguishable"
    if not has_placebo:
        return "reduced, no placebo run"
    if found.row("attributable")["hi"] < 0:
        return "reduced"
    return "reduced, not shown beyond its placebo"


def pareto(bias: npt.ArrayLike, performance: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """[n] whether no other point has both less bias and more performance, one of them strictly."""
    b, p = np.asarray(bias, dtype=np.float64), np.asarray(performance, dtype=np.float64)
    better = (b[:, None] >= b) & (p[:, None] <= p) & ((b[:, None] > b) | (p[:, None] < p))
    return np.asarray(~better.any(axis=1))
