"""The cells of a study of bias: arms of photos, and the boxes that a detector finds in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlbias.causal.engine import Arm
from vlbias.causal.example import Example
from vlbias.outcomes.best_boxes import best_boxes
from vlbias.runs.events import QUIET, Events, Note, silent
from vlbias.store.boxes import BoxWriter
from vlbias.studies.arms.plan import ArmsPlan
from vlbias.studies.arms.racing import Racer
from vlbias.studies.arms.screening import screened
from vlbias.studies.arms.timing import timed
from vlbias.studies.arms.work import ArmsWork
from vlbias.studies.bias.numbers.racing import score_gap_changes
from vlbias.studies.bias.screening import raced_score, score_gap_of
from vlbias.studies.bias.study import Study
from vlbias.studies.photos.asked_model import load_asked
from vlbias.studies.photos.run_files import keyed_study, photo_choices, write_boxes

__all__ = ["Work", "estimate"]


class Work(ArmsWork[Study]):
    """See `ArmsWork`.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
    """

    def __init__(self, plan: ArmsPlan[Study], folder: Path, note: Note = silent) -> None:
        self.study, self.note = plan.study, note
        study = plan.study
        model = load_asked(study, plan.examples)
        # photos that are reported choose nothing: what is found in them is then as good as without a choice
        choosing = [example for example in plan.examples if not plan.is_mediated(example)]
        score = score_gap_of(model, choosing, plan.dataset.classes)
        plan, self._screening = screened(plan, choosing, folder, model, note, score=score)
        super().__init__(plan, folder, model)

    def make_racer(self) -> Racer | None:
        """See `ArmsWork.make_racer`."""
        if self.study.racing is None:
            return None
        return Racer(self.plan, self.folder, self.model, score_gap_changes, raced_score, self.note)

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        return super().manifest() | self._screening

    def keyed(self) -> Mapping[str, Any]:
        """See `ArmsWork.keyed`."""
        return keyed_study(self.folder, self.study.keyed())

    def choices(self) -> Mapping[str, str]:
        """See `ArmsWork.choices`."""
        specs = [spec for spec in self.study.worlds.values() if spec.image]
        point = self.study.operating_point
        return photo_choices(
            self.study,
            self.plan.dataset,
            model=self.model.name,
            regions=[spec.region for spec in specs],
            fills=[spec.fill for spec in specs],
            calibrated_on=point.split,
            mediators=len(self.plan.mediators),
        )

    def write_samples(self) -> None:
        """See `Work.write_samples`."""
        super().write_samples()
        if self.study.keep_boxes:
            write_boxes(self.folder, self.plan.examples, self.plan.dataset.classes)

    def arms(self, key: str, part: Sequence[Example]) -> Iterator[Arm]:
        """See `ArmsWork.arms`; writes the best boxes of every arm beside the cell."""
        if not self.study.keep_boxes:
            yield from super().arms(key, part)
            return
        boxes = BoxWriter(self.folder, key, [example.id for example in part])
        for arm in super().arms(key, part):
            self._add_boxes(boxes, arm)
            yield arm
        boxes.close()

    def _add_boxes(self, writer: BoxWriter, arm: Arm) -> None:
        found = best_boxes(arm.readout, self.study.keep_boxes)
        names = {"contrast": arm.contrast.name, "mediator": arm.mediator, "arm": arm.arm}
        target = np.array(self.plan.dataset.classes, dtype=object)[found.target]
        fine = ~arm.misaligned.numpy()[found.row]
        row = np.array(arm.examples)[found.row]
        writer.add(names, row[fine], target[fine], found.score[fine], found.corners[fine])


def estimate(plan: ArmsPlan[Study], events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line."""
    yield from timed(Work, plan, events)
