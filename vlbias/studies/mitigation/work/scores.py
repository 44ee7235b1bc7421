"""Scores of a condition on the photos of a split: presence of classes, ranks of captions, queries, boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadData
from vlbias.outcomes import OUTCOMES
from vlbias.outcomes.best_boxes import best_boxes
from vlbias.store.boxes import BoxWriter
from vlbias.store.cell_writer import CellWriter
from vlbias.studies.mitigation.conditions import Part
from vlbias.studies.mitigation.results import RANKS
from vlbias.studies.mitigation.work.condition_models import ConditionModels
from vlbias.studies.mitigation.work.passes import nulls, readouts, rows_of

__all__ = ["ScoreCell", "mid_ranks"]

_NAMES = {"contrast": "null->null", "mediator": "", "arm": "00"}


class ScoreCell:
    """One cell of scores.

    Args:
        models: The model under every condition.
        folder: The run folder.
        key: Of the cell.
        part: A condition on the photos of one split.
    """

    def __init__(self, models: ConditionModels, folder: Path, key: str, part: Part) -> None:
        self.models, self.part, self.plan = models, part, models.plan
        self.presence = OUTCOMES.load("presence")(self.plan.dataset.classes)
        self.unusable = models.unusable(part.condition.fit, part.examples)
        self.examples = [one for one in part.examples if one.id not in self.unusable]
        self.place = {example.id: row for row, example in enumerate(part.examples)}
        samples = [(example.id, example.cluster) for example in part.examples]
        self.writer = CellWriter(
            folder, key, model=models.model.name, mitigation=part.condition.name, samples=samples
        )
        self.boxes = BoxWriter(folder, key, list(self.place))

    def write(self) -> None:
        """Compute the scores and write the cell whole."""
        rows = [self.place[example.id] for example in self.examples]
        with self.models.for_scores(self.part.condition) as model:
            beside = np.concatenate(list(self._presence(rows, model)))
        self._absent()
        queries = list(self.plan.asked[self.part.split].queries or ())
        captions = beside.shape[1] - len(queries)
        if queries and beside.shape[1]:
            answers = beside[:, captions:].astype(np.float32)
            self.writer.add({**_NAMES, "outcome": "query"}, rows, queries, answers)
        if captions == len(self.place) == len(rows):
            ranks = mid_ranks(beside[:, :captions].astype(np.float64))
            self.writer.add({**_NAMES, "outcome": "rank"}, rows, RANKS, ranks)
        if self.plan.study.keep_boxes:
            self.boxes.close()
        self.writer.close()

    def _presence(self, rows: Sequence[int], model: StagedModel) -> Iterator[NDArray[Any]]:
        """Adds the scores of the classes; gives those of the captions and queries, batch by batch."""
        classes = len(self.presence.targets)
        for span, readout in self._readouts(model):
            logits = readout["class_logits"].cpu()
            measure = self.presence(
                {"class_logits": logits[:, :classes]}, [self.examples[i] for i in span]
            )
            here = [rows[i] for i in span]
            self.writer.add({**_NAMES, "outcome": "presence"}, here, measure.targets, measure.value)
            if self.plan.study.keep_boxes:
                self._boxes(here, readout)
            yield logits[:, classes:].numpy()

    def _readouts(self, model: StagedModel) -> Iterator[tuple[range, Any]]:
        """Readouts of the photos against class prompts, captions and queries, as far as they can be had."""
        asked, towers = self.plan.asked[self.part.split], self.models.model.towers
        texts = asked.texts
        try:
            for tower in towers:
                rows_of(model, tower, nulls(self.examples[:1]), texts)
        except BadData:
            # a placebo that finds too few words in a caption has no retrieval; its bias can be had
            texts = tuple(asked.queries.values()) if asked.queries else ()
        batch, known = self.plan.study.mitigation.batch, self.models.known(self.part.condition.fit)
        yield from readouts(model, nulls(self.examples), batch, known, texts)

    def _boxes(self, rows: Sequence[int], readout: dict[str, Any]) -> None:
        found = best_boxes(readout, self.plan.study.keep_boxes)
        target = np.array(self.plan.dataset.classes, dtype=object)[found.target]
        self.boxes.add(_NAMES, np.array(rows)[found.row], target, found.score, found.corners)

    def _absent(self) -> None:
        """Rows of photos that the method cannot be used on: NaN, with the reason as their status."""
        if self.unusable:
            empty = np.full((len(self.unusable), len(self.presence.targets)), np.nan)
            names = {**_NAMES, "outcome": "presence"}
            rows = [self.place[one] for one in self.unusable]
            status = list(self.unusable.values())
            self.writer.add(names, rows, self.presence.targets, empty, status=status)


def mid_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 2] rank of every photo's own caption, and of every caption's own photo; 1 is first.

    Equal scores share a place, so that a model that scores all alike is not called perfect.

    Args:
        scores: [n, n], photos by captions, partners on the diagonal.
    """
    own = np.diagonal(scores)
    ranks = []
    for table, mine in ((scores, own[:, None]), (scores.T, own[:, None])):
        above, equal = (table > mine).sum(axis=1), (table == mine).sum(axis=1)
        ranks.append(1 + above + (equal - 1) / 2)
    return np.stack(ranks, axis=1)
