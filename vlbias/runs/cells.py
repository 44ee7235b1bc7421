"""One cell: run its examples, collect their numbers, write them whole or say why not."""

from __future__ import annotations

import ctypes
import platform
import traceback
from collections.abc import Callable, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vlbias.causal.engine import Arm
from vlbias.causal.example import Example
from vlbias.causal.staged import StagedModel
from vlbias.errors import BadTable
from vlbias.outcomes import OUTCOMES, Outcome
from vlbias.outcomes.best_boxes import best_boxes
from vlbias.store.boxes import BoxWriter
from vlbias.store.run_folder import CellWriter, write_json
from vlbias.studies.arms.plan import Plan, engine_of

__all__ = ["CellWork", "Work", "attempted", "compute_cell", "keep_memory"]


class CellWork:
    """What all cells of a process share: the model, its engine, and the rows encoded once.

    Args:
        plan: The study.
        folder: The run folder.
        model: The loaded model.
    """

    def __init__(self, plan: Plan, folder: Path, model: StagedModel) -> None:
        self.plan, self.folder, self.model = plan, folder, model
        self.engine = engine_of(plan, model)
        self.shared = self.engine.share(plan.examples)
        self.outcomes: list[Outcome] = [
            OUTCOMES.load(name)(plan.dataset.classes) for name in plan.study.outcomes
        ]

    def samples(self, part: Sequence[Example]) -> list[tuple[str, str]]:
        """Sample ids and clusters of a cell."""
        return [(example.id, example.cluster) for example in part]

    def fill(self, key: str, part: Sequence[Example]) -> None:
        """Run a cell's examples and write the cell whole."""
        samples = self.samples(part)
        writer = CellWriter(
            self.folder, key, model=self.model.name, mitigation="none", samples=samples
        )
        boxes = BoxWriter(self.folder, key, [example.id for example in part])
        for arm in self.engine.run(part):
            _add(writer, arm, part, self.outcomes)
            _add_boxes(boxes, arm, self.plan)
        _add_absent(writer, self.plan, part, self.outcomes)
        if self.plan.study.keep_boxes:
            boxes.close()
        writer.close()


class Work(Protocol):
    """What a process does cell by cell; a part is the examples of a cell, or knows them."""

    folder: Path

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """Sample ids and clusters of a cell."""
        ...

    def fill(self, key: str, part: Any) -> None:
        """Compute a cell and write it whole."""
        ...


def compute_cell(work: Work, key: str, part: Any) -> bool:
    """Whether a cell was computed and written; if not, its error file says why.

    Raises:
        BadTable: if the disk is full: then no other cell can be written either.
    """
    error = work.folder / "cells" / f"{key}.error.json"
    return attempted(work.folder, error, work.samples(part), lambda: work.fill(key, part))


def attempted(
    folder: Path, error: Path, samples: list[tuple[str, str]], do: Callable[[], None]
) -> bool:
    """Whether something was done; if not, the error file says why, and the run goes on.

    Raises:
        BadTable: if the disk is full.
    """
    try:
        do()
    except OSError as problem:
        if problem.errno == ENOSPC:
            raise BadTable(
                f"the disk of {folder} is full; free some space and run `vlbias resume {folder}`: "
                "finished cells are kept"
            ) from problem
        _record_failure(error, problem, samples)
        return False
    except Exception as problem:  # the one place: a failed cell is recorded, counted, and run again
        _record_failure(error, problem, samples)
        return False
    error.unlink(missing_ok=True)
    return True


def _record_failure(path: Path, problem: Exception, samples: list[tuple[str, str]]) -> None:
    write_json(
        path,
        {
            "error": f"{type(problem).__name__}: {problem}",
            "samples": [sample for sample, _ in samples],
            "traceback": traceback.format_exception(problem),
        },
    )


def _add(
    writer: CellWriter, arm: Arm, examples: Sequence[Example], outcomes: Sequence[Outcome]
) -> None:
    chosen = [examples[row] for row in arm.examples]
    misaligned = arm.misaligned.numpy()
    status = np.where(misaligned, "misaligned", "ok").tolist()
    for outcome in outcomes:
        measure = outcome(arm.readout, chosen)
        value = np.where(misaligned[:, None], np.nan, measure.value)
        writer.add(
            {
                "contrast": arm.contrast.name,
                "mediator": arm.mediator,
                "arm": arm.arm,
                "outcome": outcome.name,
            },
            arm.examples,
            measure.targets,
            value,
            weight=measure.weight,
            status=status,
        )


def _add_boxes(writer: BoxWriter, arm: Arm, plan: Plan) -> None:
    if plan.study.keep_boxes:
        found = best_boxes(arm.readout, plan.study.keep_boxes)
        names = {"contrast": arm.contrast.name, "mediator": arm.mediator, "arm": arm.arm}
        target = np.array(plan.dataset.classes, dtype=object)[found.target]
        fine = ~arm.misaligned.numpy()[found.row]
        row = np.array(arm.examples)[found.row]
        writer.add(names, row[fine], target[fine], found.score[fine], found.corners[fine])


def _add_absent(
    writer: CellWriter, plan: Plan, examples: Sequence[Example], outcomes: Sequence[Outcome]
) -> None:
    """Rows of examples that lack a world of a contrast: NaN, with the reason as their status."""
    for pair in plan.study.pairs:
        rows = [
            row
            for row, example in enumerate(examples)
            if not {pair.base, pair.cf} <= set(example.worlds)
        ]
        if not rows:
            continue
        reasons = [
            "; ".join(
                examples[row].absent[w] for w in (pair.base, pair.cf) if w in examples[row].absent
            )
            for row in rows
        ]
        for outcome in outcomes:
            targets = outcome.targets
            for arm in ("00", "11"):
                names = {"contrast": pair.name, "mediator": "", "arm": arm, "outcome": outcome.name}
                empty = np.full((len(rows), len(targets)), np.nan)
                writer.add(names, rows, targets, empty, status=reasons)


def keep_memory() -> None:
    """Tell glibc to keep freed memory: giving 40 MB activations back each time costs a quarter."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
