"""Presence scores of a run on the photos that are reported, and the operating point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.object_support import support
from vlbias.analysis.operating_point import calibrate
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.threshold_error import threshold_draws
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.studies.photos.run_panel import groups_of, panel_of
from vlbias.studies.photos.strata import strata_of

__all__ = ["PERSON", "PresenceScores", "has_enough_captions", "presence_map"]

PERSON = "person"
"""The class that is measured apart: masking persons takes it away."""


class PresenceScores:
    """Presence scores of a run on the photos that are reported.

    Args:
        run: The run.
        draws: Resampling draws.
        seed: Of the resampling; every analysis gets its own generator from it.
    """

    def __init__(self, run: Run, *, draws: int = 2000, seed: int = 0) -> None:
        self.run, self.draws, self.seed = run, draws, seed
        self.point = run.manifest["study"]["operating_point"]
        refuse_unfinished(run)

    def rng(self) -> np.random.Generator:
        """A fresh generator, so that all analyses use the same draws and can be compared."""
        return np.random.default_rng(self.seed)

    @cached_property
    def whole(self) -> Panel:
        """All photos of the run."""
        return panel_of(self.run)

    @cached_property
    def reported(self) -> NDArray[np.intp]:
        """Rows of the reported splits that are in a group, whatever their labels stand on."""
        return self._of_splits(self.point["report"])

    def _of_splits(self, splits: Sequence[str]) -> NDArray[np.intp]:
        named = splits or sorted(set(self.whole.split.tolist()))
        grouped = np.isin(self.whole.group, groups_of(self.run))
        return np.flatnonzero(grouped & np.isin(self.whole.split, named))

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """Rows of the reported splits whose label enough captions agree on."""
        return self.reported[has_enough_captions(self.run)[self.reported]]

    @cached_property
    def fitted(self) -> NDArray[np.intp]:
        """Rows that thresholds are calibrated on."""
        rows = self._of_splits([self.point["split"]] if self.point["split"] else [])
        return rows[has_enough_captions(self.run)[rows]]

    @cached_property
    def _calibrating(self) -> Panel:
        return self.whole.take(self.fitted, groups_of(self.run))

    @cached_property
    def panel(self) -> Panel:
        """The photos that rates are reported on."""
        return self.whole.take(self.kept, groups_of(self.run))

    @cached_property
    def strata(self) -> NDArray[np.str_] | None:
        """[reported photos] strata of the label test; None without."""
        return strata_of(self.run, self.kept, self.panel.present)

    def scores(self, contrast: str, arm: str, mediator: str = "") -> Floats:
        """Presence scores [reported photos, classes]."""
        return self.run.slab(contrast, mediator, arm)[self.kept]

    def calibration(self) -> tuple[Panel, dict[str, Floats]] | None:
        """The photos that set thresholds, with their scores in every world; None for given ones."""
        if self.point["rule"] == "given":
            return None
        return self._calibrating, dict(self._in_worlds(self.fitted))

    @cached_property
    def contrasts(self) -> list[str]:
        """Contrasts in the order they were run."""
        return list(self.run.manifest["contrasts"])

    @property
    def unmediated(self) -> list[str]:
        """Contrasts that were run without mediators."""
        return list(self.run.manifest["study"].get("unmediated", ()))

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """The operating point [classes], calibrated on the null world of one split."""
        if self.point["rule"] == "given":
            return np.array([self.point["thresholds"][name] for name in self.run.targets])
        scores = self.run.slab(self.null_contrast, "", "00")[self.fitted]
        return calibrate(self._calibrating, scores, self.point["rule"], fpr=self.point["value"])

    @cached_property
    def drawn_thresholds(self) -> NDArray[np.float64] | None:
        """[draws, classes] operating points that other photos of the split would give.

        None for given thresholds, and where reported photos set them: their error is then no other.
        """
        if self.point["rule"] == "given" or np.isin(self.fitted, self.reported).any():
            return None
        scores = self.run.slab(self.null_contrast, "", "00")[self.fitted]
        rule, fpr = self.point["rule"], self.point["value"]
        return threshold_draws(
            self._calibrating, scores, rule, fpr=fpr, draws=self.draws, rng=self.rng()
        )

    @cached_property
    def null_contrast(self) -> str:
        """A contrast from the null world in which no photo is missing, if there is one."""
        bases = [name for name in self.contrasts if name.startswith("null->")] or self.contrasts
        return min(bases, key=lambda name: int(np.isnan(self.run.slab(name, "", "00")).sum()))

    @cached_property
    def null(self) -> Floats:
        """Scores of the null world."""
        return self.scores(self.null_contrast, "00")

    @cached_property
    def objects(self) -> NDArray[np.intp]:
        """Columns with support, fixed on the null world before any intervention is looked at."""
        return support(
            self.panel,
            self.null,
            self.thresholds,
            min_count=self.point["min_negatives"],
            min_events=self.point["min_events"],
        )

    def worlds(self) -> Iterator[tuple[str, Floats]]:
        """Worlds and their scores, the null world first; photos without a world are NaN."""
        yield from self._in_worlds(self.kept)

    def world_arms(self) -> Iterator[tuple[str, str, str]]:
        """Each world, and the contrast and arm that hold it; the null world first."""
        yield self.null_contrast.partition("->")[0], self.null_contrast, "00"
        for contrast in self.contrasts:
            base, _, other = contrast.partition("->")
            if other != base:
                yield other, contrast, "11"

    def _in_worlds(self, rows: NDArray[np.intp]) -> Iterator[tuple[str, Floats]]:
        for world, contrast, arm in self.world_arms():
            yield world, self.run.slab(contrast, "", arm)[rows]


def has_enough_captions(run: Run) -> NDArray[np.bool_]:
    """Which samples have labels that as many captions agree on as the study's operating point asks."""
    # runs made before there was this choice measured all they had
    least = run.manifest["study"]["operating_point"].get("min_captions", 1)
    if least == 1:
        return np.ones(len(run.samples), bool)
    enough: NDArray[np.bool_] = run.samples["agreeing_captions"].astype(int).to_numpy() >= least
    return enough


def presence_map(present: NDArray[np.bool_], scores: Floats, least: int = 3) -> float:
    """Mean average precision over classes with at least `least` positives and as many negatives."""
    from sklearn.metrics import average_precision_score

    known = ~np.isnan(scores).any(axis=1)
    truth, seen = present[known], scores[known]
    enough = (truth.sum(axis=0) >= least) & ((~truth).sum(axis=0) >= least)
    if not enough.any():
        return float("nan")
    return float(
        np.mean([average_precision_score(truth[:, k], seen[:, k]) for k in np.flatnonzero(enough)])
    )
