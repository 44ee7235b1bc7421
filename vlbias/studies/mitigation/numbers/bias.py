"""The bias of every condition, and what of a reduction is a mitigation's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.attributable_change import AttributableChange, attributable_change
from vlbias.analysis.disparity import disparity
from vlbias.analysis.error_levels import ErrorLevels, error_levels
from vlbias.analysis.functionals import crossfit, plugin
from vlbias.analysis.matched_thresholds import mean_fpr
from vlbias.analysis.object_support import held_out_signs
from vlbias.analysis.rates import measure_rates
from vlbias.studies.mitigation.numbers.scores import Array, ConditionScores
from vlbias.studies.photos.strata import strata_of

__all__ = ["ConditionBias"]


class ConditionBias:
    """B of conditions, each at its own operating point.

    Args:
        scores: Of a run.
    """

    def __init__(self, scores: ConditionScores) -> None:
        self.scores = scores

    @cached_property
    def signs(self) -> Mapping[Any, Array]:
        """Signs of the gaps of the model as it is, on the choosing split, which is not reported."""
        panel, scores = self.scores.panel["choose"], self.scores.presence("none", "choose")
        objects, limits = self.scores.objects("report"), self.scores.thresholds("none")
        return {
            "fpr": held_out_signs(panel, scores, limits, objects=objects),
            "score": held_out_signs(panel, scores, None, measure="score", objects=objects),
        }

    @cached_property
    def _strata(self) -> NDArray[np.str_] | None:
        rows, panel = self.scores.rows["report"], self.scores.panel["report"]
        return strata_of(self.scores.run, rows, panel.present)

    def reported(self, condition: str) -> dict[str, Any]:
        """B of a condition on the reported split, at its own operating point, never a bare number."""
        one, objects = self.scores.scored(condition), self.scores.objects("report")
        panel, draws = self.scores.panel["report"], self.scores.draws
        found = disparity(
            panel, one.scores, one.thresholds, rng=self.scores.rng(), objects=objects,
            strata=self._strata,
            draws=draws, permutations=draws,
        )  # fmt: skip
        linear = np.nan
        if len(objects):
            rates = measure_rates(panel, one.scores, "fpr", one.thresholds, objects=objects)
            linear = float((rates.gap * self.signs["fpr"]).mean(axis=0).sum())
        return {
            "B_plugin": found.plugin, "floor": found.floor, "p": found.p,
            "B_crossfit": found.crossfit, "B_lo": found.lo, "B_hi": found.hi, "B_lin": linear,
            "n_objects": found.n_objects,
            "mean_fpr": mean_fpr(panel, one.scores, one.thresholds, objects)
            if len(objects) else np.nan,
        }  # fmt: skip

    def on(self, condition: str, part: str, photos: NDArray[np.bool_]) -> dict[str, float]:
        """B and its cross-fit at a condition's own operating point, on some photos of a split.

        Args:
            condition: Which.
            part: "choose" or "report".
            photos: Which photos of the split.
        """
        scores = np.where(photos[:, None], self.scores.presence(condition, part), np.nan)
        rates = measure_rates(
            self.scores.panel[part],
            scores,
            "fpr",
            self.scores.thresholds(condition),
            objects=self.scores.objects(part),
        )
        return {
            "B_plugin": float(plugin(rates.gap)),
            "B_crossfit": float(crossfit(rates.gap, rates.spread)),
        }

    def change(self, condition: str, placebos: Mapping[str, str]) -> AttributableChange:
        """What a condition changes, and what of that is its own.

        Args:
            condition: Of a mitigation.
            placebos: Name to the condition of each of its placebos at the same strength.
        """
        return attributable_change(
            self.scores.panel["report"],
            self.scores.scored("none"),
            self.scores.scored(condition),
            {name: self.scores.scored(placebo) for name, placebo in placebos.items()},
            objects=self.scores.objects("report"),
            rng=self.scores.rng(),
            signs=self.signs,
            draws=self.scores.draws,
        )

    def levels(self, condition: str) -> ErrorLevels | None:
        """Either group's errors before and after a condition; None with more than two groups."""
        null, one = self.scores.scored("none"), self.scores.scored(condition)
        return error_levels(
            self.scores.panel["report"],
            null.scores,
            one.scores,
            (null.thresholds, one.thresholds),
            objects=self.scores.objects("report"),
            signs=self.signs["fpr"],
        )
