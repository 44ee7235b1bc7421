"""The numbers of a study of mitigations: bias, what is attributable, performance, and the choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis import retention
from vlbias.analysis.disparity import disparity, held_out_signs, support
from vlbias.analysis.functionals import crossfit, plugin
from vlbias.analysis.operating_point import calibrate, mean_fpr
from vlbias.analysis.placebo_adjusted import Attribution, Scored, attribute
from vlbias.analysis.precision_draws import box_precisions
from vlbias.analysis.rates import measure_rates
from vlbias.store.boxes import found_boxes, true_boxes
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.stored import Conditions
from vlbias.studies.photos.panels import panel_of
from vlbias.studies.photos.scores import PERSON

__all__ = ["MitigationNumbers"]

_RANKS = ("photo to caption", "caption to photo")
_TOPS = (1, 5, 10)
_BOX_DRAWS = 300
Array = NDArray[np.float64]


class MitigationNumbers:
    """A run's arrays, and every analysis of them.

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
        self.whole = panel_of(run)
        self.rows = {
            name: self.whole.index(split=self.protocol[name]) for name in ("choose", "report")
        }
        self.panel = {name: self.whole.take(rows) for name, rows in self.rows.items()}
        self._presence: dict[str, NDArray[np.float32]] = {}
        self._before: dict[tuple[str, bytes], dict[str, Array]] = {}

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

    @cached_property
    def signs(self) -> Mapping[Any, Array]:
        """Signs of the gaps of the model as it is, on the choosing split, which is not reported."""
        panel, scores, objects = (
            self.panel["choose"],
            self.presence("none", "choose"),
            self.objects("report"),
        )
        limits = self.thresholds("none")
        return {
            "fpr": held_out_signs(panel, scores, limits, objects=objects),
            "score": held_out_signs(panel, scores, None, measure="score", objects=objects),
        }

    def bias(self, condition: str) -> dict[str, Any]:
        """B of a condition on the reported split, at its own operating point, never a bare number."""
        one, objects = self.scored(condition), self.objects("report")
        found = disparity(
            self.panel["report"], one.scores, one.thresholds, rng=self.rng(), objects=objects,
            draws=self.draws, permutations=self.draws,
        )  # fmt: skip
        linear = np.nan
        if len(objects):
            rates = measure_rates(
                self.panel["report"], one.scores, "fpr", one.thresholds, objects=objects
            )
            linear = float((rates.gap * self.signs["fpr"]).mean(axis=0).sum())
        return {
            "B_plugin": found.plugin, "floor": found.floor, "p": found.p,
            "B_crossfit": found.crossfit, "B_lo": found.lo, "B_hi": found.hi, "B_lin": linear,
            "n_objects": found.n_objects,
            "mean_fpr": mean_fpr(self.panel["report"], one.scores, one.thresholds, objects)
            if len(objects) else np.nan,
        }  # fmt: skip

    def bias_on(self, condition: str, part: str, whole: NDArray[np.bool_]) -> dict[str, float]:
        """B and its cross-fit at a condition's own operating point, on the photos `whole` of a split."""
        scores = np.where(whole[:, None], self.presence(condition, part), np.nan)
        rates = measure_rates(
            self.panel[part], scores, "fpr", self.thresholds(condition), objects=self.objects(part)
        )
        return {
            "B_plugin": float(plugin(rates.gap)),
            "B_crossfit": float(crossfit(rates.gap, rates.spread)),
        }

    def attribution(self, condition: str, placebos: Mapping[str, str]) -> Attribution:
        """What of a condition's reduction is its own.

        Args:
            condition: Of a mitigation.
            placebos: Name to the condition of each of its placebos at the same strength.
        """
        return attribute(
            self.panel["report"],
            self.scored("none"),
            self.scored(condition),
            {name: self.scored(placebo) for name, placebo in placebos.items()},
            objects=self.objects("report"),
            rng=self.rng(),
            signs=self.signs,
            draws=self.draws,
        )

    def complete(self, condition: str, part: str) -> NDArray[np.bool_]:
        """Which photos of a split a condition was run on: those without a placebo region were not."""
        return np.asarray(~np.isnan(self.presence(condition, part)).any(axis=1))

    def performance(
        self, condition: str, part: str, whole: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        """Every metric with its value on the photos `whole` as they are, and on all draws of them."""
        panel, weights = self.panel[part], self._weights(part)
        scores = self.presence(condition, part)
        if not whole.all():
            panel, weights, scores = (
                panel.take(np.flatnonzero(whole)),
                weights[:, whole],
                scores[whole],
            )
        by_class = retention.precisions(panel.present, scores, weights)
        names = np.array(self.classes)
        others, everything = np.flatnonzero(names != PERSON), np.arange(len(names))
        yield "mAP", retention.mean_precision(by_class, others)
        if PERSON in self.classes and not np.isnan(by_class[0, names == PERSON]).any():
            yield "mAP with person", retention.mean_precision(by_class, everything)
            yield "AP of person", by_class[:, names == PERSON][:, 0]
        gap = retention.precision_gap(panel, scores, weights, others)
        yield f"AP gap ({panel.groups[0]} - {panel.groups[1]})", gap
        yield from self._boxes(condition, part, weights, whole)
        yield from self._retrieval(condition, part, weights, whole)
        yield from self._queries(condition, part, weights, whole)

    def before(self, part: str, whole: NDArray[np.bool_]) -> dict[str, Array]:
        """Performance of the model as it is on these photos of a split; computed once."""
        key = part, whole.tobytes()
        if key not in self._before:
            self._before[key] = dict(self.performance("none", part, whole))
        return self._before[key]

    def _boxes(
        self, condition: str, part: str, weights: Array, whole: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        if not self.study["keep_boxes"]:
            return
        keys = self.stored.keys(condition, self.protocol[part])
        found = found_boxes(self.run.folder, keys, "null->null", "", "00")
        samples = self.panel[part].sample[whole].tolist()
        truth = self.run_truth
        few = weights[: 1 + _BOX_DRAWS]
        others = [name for name in self.classes if name != PERSON]
        yield from box_precisions(truth, found, samples, others, few).items()
        if PERSON in self.classes:
            person = box_precisions(truth, found, samples, [PERSON], few)
            yield "box AP of person", person["AP"]

    @cached_property
    def run_truth(self) -> pd.DataFrame:
        """The true boxes of all photos."""
        return true_boxes(self.run.folder)

    def _retrieval(
        self, condition: str, part: str, weights: Array, whole: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        if not self.run.manifest["retrieval"] or not whole.all():
            return  # with photos missing, the gallery is another one
        ranks = self.stored.scores(condition, "rank", _RANKS)[self.rows[part]]
        found = [retention.recalls(ranks[:, i], weights, _TOPS) for i in range(len(_RANKS))]
        yield "R@5", (found[0][5] + found[1][5]) / 2
        for k in _TOPS:
            for name, recall in zip(_RANKS, found, strict=True):
                yield f"R@{k} {name}", recall[k]

    def _queries(
        self, condition: str, part: str, weights: Array, whole: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        asked = list(self.run.manifest["queries"])
        if not asked:
            return
        panel = self.panel[part].take(np.flatnonzero(whole))
        answers = self.stored.scores(condition, "query", asked)[self.rows[part]][whole]
        found = []
        for i, group in enumerate(asked):
            rest = answers[:, [j for j in range(len(asked)) if j != i]].max(axis=1)
            own = panel.group == group
            found.append(retention.group_auc(answers[:, i] - rest, own, weights))
        yield "AUC of queries for the group", np.mean(found, axis=0)

    def _weights(self, part: str) -> Array:
        draws = self.draws if part == "report" else 0
        return retention.image_weights(self.panel[part], draws, self.rng())
