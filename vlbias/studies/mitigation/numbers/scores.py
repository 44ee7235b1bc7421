"""Presence scores of every condition on the photos of a split, and the operating points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.attributable_change import Scored
from vlbias.analysis.object_support import support
from vlbias.analysis.operating_point import calibrate
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.results import Conditions
from vlbias.studies.photos.run_panel import panel_of
from vlbias.studies.photos.scores import PERSON

__all__ = ["Array", "ConditionScores"]

Array = NDArray[np.float64]


class ConditionScores:
    """A run's presence scores on its splits "choose" and "report".

    Args:
        run: A finished run of mitigations.
        draws: Resampling draws.
        seed: Of the resampling; every analysis gets its own generator from it.
    """

    def __init__(self, run: Run, *, draws: int = 2000, seed: int = 0) -> None:
        self.run, self.draws, self.seed = run, draws, seed
        self.stored = Conditions(run)
        self.study = run.manifest["study"]
        self.protocol, self.point = self.study["mitigation"], self.study["operating_point"]
        self.classes = tuple(t for t in run.targets)
        whole = panel_of(run)
        self.rows = {name: whole.index(split=self.protocol[name]) for name in ("choose", "report")}
        self.panel = {name: whole.take(rows) for name, rows in self.rows.items()}
        self._presence: dict[str, NDArray[np.float32]] = {}

    def rng(self) -> np.random.Generator:
        """A fresh generator, so that all analyses use the same draws and can be compared."""
        return np.random.default_rng(self.seed)

    def presence(self, condition: str, part: str) -> NDArray[np.float32]:
        """Presence scores [photos, classes] of a condition on the split "choose" or "report"."""
        if condition not in self._presence:
            self._presence[condition] = self.stored.scores(condition, "presence", self.classes)
        return self._presence[condition][self.rows[part]]

    def thresholds(self, condition: str) -> Array:
        """The operating point of a condition, calibrated on its own scores of the choosing split."""
        if self.point["rule"] == "given":
            return np.array([self.point["thresholds"][name] for name in self.classes])
        scores = self.presence(condition, "choose")
        return calibrate(self.panel["choose"], scores, self.point["rule"], fpr=self.point["value"])

    def scored(self, condition: str) -> Scored:
        """Reported scores of a condition at its operating point."""
        return Scored(self.presence(condition, "report"), self.thresholds(condition))

    def objects(self, part: str) -> NDArray[np.intp]:
        """Columns with support, fixed on the model as it is; a person is no object here."""
        found = support(
            self.panel[part], self.presence("none", part), self.thresholds("none"),
            min_count=self.point["min_negatives"], min_events=self.point["min_events"],
        )  # fmt: skip
        return found[[self.classes[i] != PERSON for i in found]]

    def complete(self, condition: str, part: str) -> NDArray[np.bool_]:
        """Which photos of a split a condition was run on: those without a placebo region were not."""
        return np.asarray(~np.isnan(self.presence(condition, part)).any(axis=1))
