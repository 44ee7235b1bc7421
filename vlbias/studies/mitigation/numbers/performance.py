"""The performance of every condition: precision of classes and boxes, retrieval, queries for groups."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis import retention
from vlbias.analysis.precision_draws import box_precisions
from vlbias.store.boxes import found_boxes, true_boxes
from vlbias.studies.mitigation.numbers.scores import Array, ConditionScores
from vlbias.studies.mitigation.results import RANKS
from vlbias.studies.photos.scores import PERSON

__all__ = ["ConditionPerformance"]

_TOPS = (1, 5, 10)
_BOX_DRAWS = 300


class ConditionPerformance:
    """Every metric of conditions, on the photos as they are and on all draws of them.

    Args:
        scores: Of a run.
    """

    def __init__(self, scores: ConditionScores) -> None:
        self.scores = scores
        self._before: dict[tuple[str, bytes], dict[str, Array]] = {}

    def metrics(
        self, condition: str, part: str, photos: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        """Every metric with its value on some photos as they are, and on all draws of them.

        Args:
            condition: Which.
            part: "choose" or "report".
            photos: Which photos of the split.
        """
        panel, weights = self.scores.panel[part], self._weights(part)
        scores = self.scores.presence(condition, part)
        if not photos.all():
            panel, weights, scores = (
                panel.take(np.flatnonzero(photos)),
                weights[:, photos],
                scores[photos],
            )
        by_class = retention.precisions(panel.present, scores, weights)
        names = np.array(self.scores.classes)
        others, everything = np.flatnonzero(names != PERSON), np.arange(len(names))
        yield "mAP", retention.mean_precision(by_class, others)
        if PERSON in self.scores.classes and not np.isnan(by_class[0, names == PERSON]).any():
            yield "mAP with person", retention.mean_precision(by_class, everything)
            yield "AP of person", by_class[:, names == PERSON][:, 0]
        gap = retention.precision_gap(panel, scores, weights, others)
        yield f"AP gap ({panel.groups[0]} - {panel.groups[1]})", gap
        yield from self._boxes(condition, part, weights, photos)
        yield from self._retrieval(condition, part, weights, photos)
        yield from self._queries(condition, part, weights, photos)

    def before(self, part: str, photos: NDArray[np.bool_]) -> dict[str, Array]:
        """Performance of the model as it is on these photos of a split; computed once."""
        key = part, photos.tobytes()
        if key not in self._before:
            self._before[key] = dict(self.metrics("none", part, photos))
        return self._before[key]

    def _boxes(
        self, condition: str, part: str, weights: Array, photos: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        if not self.scores.study["keep_boxes"]:
            return
        keys = self.scores.stored.keys(condition, self.scores.protocol[part])
        found = found_boxes(self.scores.run.folder, keys, "null->null", "", "00")
        samples = self.scores.panel[part].sample[photos].tolist()
        few = weights[: 1 + _BOX_DRAWS]
        others = [name for name in self.scores.classes if name != PERSON]
        yield from box_precisions(self._true_boxes, found, samples, others, few).items()
        if PERSON in self.scores.classes:
            person = box_precisions(self._true_boxes, found, samples, [PERSON], few)
            yield "box AP of person", person["AP"]

    @cached_property
    def _true_boxes(self) -> pd.DataFrame:
        return true_boxes(self.scores.run.folder)

    def _retrieval(
        self, condition: str, part: str, weights: Array, photos: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        if not self.scores.run.manifest["retrieval"] or not photos.all():
            return  # with photos missing, the gallery is another one
        ranks = self.scores.stored.scores(condition, "rank", RANKS)[self.scores.rows[part]]
        found = [retention.recalls(ranks[:, i], weights, _TOPS) for i in range(len(RANKS))]
        yield "R@5", (found[0][5] + found[1][5]) / 2
        for k in _TOPS:
            for name, recall in zip(RANKS, found, strict=True):
                yield f"R@{k} {name}", recall[k]

    def _queries(
        self, condition: str, part: str, weights: Array, photos: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Array]]:
        asked = list(self.scores.run.manifest["queries"])
        if not asked:
            return
        panel = self.scores.panel[part].take(np.flatnonzero(photos))
        answers = self.scores.stored.scores(condition, "query", asked)[self.scores.rows[part]]
        answers = answers[photos]
        found = []
        for i, group in enumerate(asked):
            rest = answers[:, [j for j in range(len(asked)) if j != i]].max(axis=1)
            own = panel.group == group
            found.append(retention.group_auc(answers[:, i] - rest, own, weights))
        yield "AUC of queries for the group", np.mean(found, axis=0)

    def _weights(self, part: str) -> Array:
        draws = self.scores.draws if part == "report" else 0
        return retention.image_weights(self.scores.panel[part], draws, self.scores.rng())
