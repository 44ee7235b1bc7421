"""One cell of a study of mitigations: the scores of a condition, or the map of what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlbias.causal.example import Example
from vlbias.causal.staged import StagedModel, Tower
from vlbias.causal.trace import Point
from vlbias.errors import BadData
from vlbias.files import whole
from vlbias.mitigations.activations import first_values
from vlbias.mitigations.base import Fitted
from vlbias.outcomes import OUTCOMES
from vlbias.outcomes.best_boxes import best_boxes
from vlbias.store.boxes import BoxWriter
from vlbias.store.cells import CellWriter
from vlbias.studies.mitigation.conditions import Condition, Fit, Part
from vlbias.studies.mitigation.plan import MitigationPlan, mapped_point
from vlbias.studies.mitigation.work.passes import (
    Known,
    Remembering,
    is_dual,
    mid_ranks,
    nulls,
    readouts,
    rows_of,
)
from vlbias.studies.mitigation.work.scope import acts_on_outputs, spared, touched
from vlbias.studies.mitigation.work.stage_cache import Recall

__all__ = ["MitigationWork"]

RANKS = ("photo to caption", "caption to photo")
_PHOTOS = 4  # whose maps are kept one by one
_NAMES = {"contrast": "null->null", "mediator": "", "arm": "00"}


class MitigationWork:
    """What all cells of a process share: the model and the fitted mitigations.

    Args:
        plan: The study.
        folder: The run folder.
        model: The loaded model, unmitigated.
        fitted: Every fit, by what it is.
    """

    def __init__(
        self,
        plan: MitigationPlan,
        folder: Path,
        model: StagedModel,
        fitted: Mapping[Fit, Fitted],
    ) -> None:
        self.plan, self.folder, self.model = plan, folder, model
        self.fitted = dict(fitted)
        batch = plan.study.mitigation.batch
        self.memory = Remembering(model, batch) if is_dual(model) else None
        self.recall = Recall(model)
        self.known: Known = {}
        self.presence = OUTCOMES.load("presence")(plan.plan.dataset.classes)

    def samples(self, part: Part) -> list[tuple[str, str]]:
        """Sample ids and clusters of a cell."""
        return [(example.id, example.cluster) for example in part.examples]

    def fill(self, key: str, part: Part) -> None:
        """Compute a cell and write it whole."""
        unusable = self.unusable(part)
        examples = [example for example in part.examples if example.id not in unusable]
        if part.kind == "map":
            write_map(self.folder / "cells" / f"{key}.npz", self._map(part.condition, examples))
            return
        with self.scoring(part.condition) as model, self.recalling(part.condition.fit):
            self._scores(key, part, examples, model)

    def remember(self, cells: Sequence[tuple[str, Part]]) -> None:
        """Encode once, as the model is, the rows of every split that several cells can use."""
        if self.memory is None:
            return  # other models encode photo and text together
        wanted = any(
            self.spared(part.condition.fit) or self.on_outputs(part.condition.fit)
            for _, part in cells
            if part.kind == "scores"
        )
        # all splits or none, in one order: then rows are always encoded in the same batches
        for split, asked in self.plan.asked.items() if wanted else ():
            self.memory.learn(nulls(self.plan.split[split]), asked.texts)
        self.known = {tower.name: self.memory.known(tower.name) for tower in self.model.towers}

    def spared(self, fit: Fit | None) -> frozenset[str]:
        """Towers that encode a row as they do without the mitigation: exactly, by what it is."""
        return spared(None if fit is None else self.fitted[fit].mitigation, self.model)

    def on_outputs(self, fit: Fit | None) -> bool:
        """Whether a mitigation changes nothing but what the towers give."""
        return fit is not None and acts_on_outputs(self.fitted[fit].mitigation, self.model)

    def under(self, condition: Condition) -> Any:
        """A context that gives the model of a condition."""
        if condition.fit is None:
            return nullcontext(self.model)
        return self.fitted[condition.fit].applied(self.model, condition.strength)

    def scoring(self, condition: Condition) -> Any:
        """As `under`, from what was encoded before where only the towers' outputs are changed."""
        fit = condition.fit
        if fit is None or self.memory is None or not self.on_outputs(fit):
            return self.under(condition)
        return self.fitted[fit].applied(self.memory, condition.strength)

    def recalling(self, fit: Fit | None) -> Any:
        """A context in which encoders that the mitigation leaves alone run once on each batch."""
        mitigation = None if fit is None else self.fitted[fit].mitigation
        return self.recall.without(touched(mitigation, self.model))

    def _scores(
        self, key: str, part: Part, examples: Sequence[Example], model: StagedModel
    ) -> None:
        asked, samples = self.plan.asked[part.split], self.samples(part)
        place = {sample: row for row, (sample, _) in enumerate(samples)}
        rows = [place[example.id] for example in examples]
        writer = CellWriter(
            self.folder, key, model=self.model.name, mitigation=part.condition.name, samples=samples
        )
        boxes = BoxWriter(self.folder, key, [sample for sample, _ in samples])
        classes, found = len(self.presence.targets), []
        for span, readout in self._readouts(part, examples, model):
            logits = readout["class_logits"].cpu()
            some = [examples[i] for i in span]
            measure = self.presence({"class_logits": logits[:, :classes]}, some)
            here = [rows[i] for i in span]
            writer.add({**_NAMES, "outcome": "presence"}, here, measure.targets, measure.value)
            found.append(logits[:, classes:].numpy())
            if self.plan.study.keep_boxes:
                self._boxes(boxes, here, readout)
        self._add_absent(writer, part, place)
        more = np.concatenate(found)
        queries = list(asked.queries or ())
        if queries and more.shape[1]:
            answers = more[:, more.shape[1] - len(queries) :].astype(np.float32)
            writer.add({**_NAMES, "outcome": "query"}, rows, queries, answers)
        if more.shape[1] - len(queries) == len(samples) == len(rows):
            ranks = mid_ranks(more[:, : len(samples)].astype(np.float64))
            writer.add({**_NAMES, "outcome": "rank"}, rows, RANKS, ranks)
        if self.plan.study.keep_boxes:
            boxes.close()
        writer.close()

    def _readouts(
        self, part: Part, examples: Sequence[Example], model: StagedModel
    ) -> Iterator[tuple[range, Any]]:
        """Readouts of the photos against class prompts, captions and queries, as far as they can be had."""
        fit, asked = part.condition.fit, self.plan.asked[part.split]
        known = {tower: self.known[tower] for tower in self.spared(fit) if tower in self.known}
        batch = self.plan.study.mitigation.batch
        texts = asked.texts
        try:
            for tower in self.model.towers:
                rows_of(model, tower, nulls(examples[:1]), texts)
        except BadData:
            # a placebo that finds too few words in a caption has no retrieval; its bias can be had
            texts = tuple(asked.queries.values()) if asked.queries else ()
        yield from readouts(model, nulls(examples), batch, known, texts)

    def _add_absent(self, writer: CellWriter, part: Part, place: Mapping[str, int]) -> None:
        """Rows of photos that the method cannot be used on: NaN, with the reason as their status."""
        reasons = self.unusable(part)
        if reasons:
            empty = np.full((len(reasons), len(self.presence.targets)), np.nan)
            names = {**_NAMES, "outcome": "presence"}
            rows, status = [place[one] for one in reasons], list(reasons.values())
            writer.add(names, rows, self.presence.targets, empty, status=status)

    def unusable(self, part: Part) -> Mapping[str, str]:
        """Ids of a cell's photos that its method cannot be used on, and why."""
        fit = part.condition.fit
        return {} if fit is None else self.fitted[fit].mitigation.unusable(part.examples)

    def _boxes(self, writer: BoxWriter, rows: list[int], readout: Any) -> None:
        found = best_boxes(readout, self.plan.study.keep_boxes)
        target = np.array(self.plan.plan.dataset.classes, dtype=object)[found.target]
        writer.add(_NAMES, np.array(rows)[found.row], target, found.score, found.corners)

    def _map(self, condition: Condition, examples: Sequence[Example]) -> dict[str, NDArray[Any]]:
        """Mean over photos of each token's norm before and after, and of the norm of its change.

        Of the first photos also the share of the norm that changes, photo by photo. Nothing where photos
        of several sizes have no tokens in common.
        """
        place = mapped_point(self.model)
        assert place is not None
        before = _tokens(self.model, *place, examples, self.plan.study.mitigation.batch)
        if len({one.shape[1:] for one in before}) > 1:
            return {}
        with self.under(condition) as model:
            after = _tokens(model, *place, examples, self.plan.study.mitigation.batch)
        sums = [torch.zeros(3, 0)]
        count = 0
        for one, other in zip(before, after, strict=True):
            norms = [part.norm(dim=-1).sum(0) for part in (one, other, other - one)]
            sums.append(torch.stack(norms).double())
            count += len(one)
        total = torch.stack(sums[1:]).sum(0) / count
        moved = (after[0] - before[0])[:_PHOTOS].norm(dim=-1)
        share = moved / before[0][:_PHOTOS].norm(dim=-1).clamp(min=1e-12)
        shown = [example.id for example in examples[: len(share)]]
        means = dict(zip(("before", "after", "change"), total.numpy(), strict=True))
        return means | {"photo_share": share.numpy(), "photo_id": np.array(shown)}


def _tokens(
    model: StagedModel, tower: Tower, last: str, examples: Sequence[Example], batch: int
) -> list[torch.Tensor]:
    values = rows_of(model, tower, nulls(examples))
    found = []
    for start in range(0, len(values), batch):
        rows = model.collate(tower.name, values[start : start + batch])
        point: Point = (last, "out")
        found.append(first_values(model, tower.name, [point], rows)[point].float().cpu())
    return found


def write_map(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays whole or not at all."""
    with whole(path) as temporary, temporary.open("wb") as file:
        named: dict[str, Any] = dict(arrays)
        np.savez(file, **named)
