"""Run a study of mitigations: fit each once, then a cell per condition and split, then the overhead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlbias.errors import BadTable
from vlbias.files import read_sealed
from vlbias.mitigations.base import Fitted
from vlbias.runs.data_files import keyed_data
from vlbias.runs.events import Note, Progress, silent
from vlbias.runs.interfaces import Cell
from vlbias.runs.interfaces import Work as AnyWork
from vlbias.store.run_folder import Run
from vlbias.store.seals import fit_flaw
from vlbias.studies.arms.work import write_examples
from vlbias.studies.mitigation.conditions import Condition, Fit, Part, fits_of
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.work.cells import cells_of
from vlbias.studies.mitigation.work.condition_models import ConditionModels
from vlbias.studies.mitigation.work.fits import Fitter
from vlbias.studies.mitigation.work.keys import Keys
from vlbias.studies.mitigation.work.manifest import manifest_of
from vlbias.studies.mitigation.work.maps import write_map
from vlbias.studies.mitigation.work.overhead import measure_overhead
from vlbias.studies.mitigation.work.scores import ScoreCell
from vlbias.studies.photos.asked_model import load_asked
from vlbias.studies.photos.run_files import keyed_study, write_boxes

__all__ = ["Work"]


class Work(AnyWork):
    """What all cells of a process share: the model and the fitted mitigations.

    Every fit is a folder below `fits/`, every cell a file below `cells/`, every overhead a file below
    `overhead/`: each is there or it is not, so that a killed run goes on where it was.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
    """

    def __init__(self, plan: MitigationPlan, folder: Path, note: Note = silent) -> None:
        study = plan.study
        self.plan, self.folder = plan, folder
        self.model = load_asked(study, plan.examples)
        self.keys = Keys(
            plan,
            self.model.revision,
            keyed_study(folder, study.keyed()),
            keyed_data(folder, plan.dataset.content_hash, plan.files),
        )
        self.cells = cells_of(plan, self.model, self.keys)
        self.models = self._models({})

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        return manifest_of(self.plan, self.folder, self.model, self.keys, self.cells)

    def resumed(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
        """See `Work.resumed`; methods can be added, since each has fits and cells of its own."""
        # the first cell is of the model as it is: with it, model and photos are the same
        if before["cells"][:1] != now["cells"][:1]:
            return None
        return {**now, **{name: before[name] for name in ("created", "sessions")}}

    def write_samples(self) -> None:
        """See `Work.write_samples`."""
        examples, classes = self.plan.examples, self.plan.dataset.classes
        write_examples(self.folder, examples, classes)
        if self.plan.study.keep_boxes:
            write_boxes(self.folder, examples, classes)

    def n_extra(self, todo: Sequence[Cell]) -> int:
        """See `Work.n_extra`: fits and overheads."""
        return len(self._wanted(todo)) + len(self._untimed())

    def prepare(self, todo: Sequence[Cell], progress: Progress) -> tuple[str, ...]:
        """See `Work.prepare`: fits, and encodes what several cells need.

        Returns:
            Keys of the fits that failed, and of the cells that need them.
        """
        fitter = Fitter(self.plan, self.model, self.folder, self.keys)
        fits = fitter.fit_all(self._wanted(todo), progress)
        self.models = self._models(fits.fitted)
        parts: dict[str, Part] = {cell.key: _part(cell) for cell in todo}
        ready = {None, *fits.fitted}
        progress.events.note("scores of every condition")
        self.models.encode_shared([p for p in parts.values() if p.condition.fit in ready])
        refused = [key for key, part in parts.items() if part.condition.fit not in ready]
        return (*fits.failed, *refused)

    def samples(self, part: Part) -> list[tuple[str, str]]:
        """See `Work.samples`."""
        return [(example.id, example.cluster) for example in part.examples]

    def fill(self, key: str, part: Part) -> None:
        """See `Work.fill`."""
        if part.kind == "map":
            write_map(self.models, part, self.folder / "cells" / f"{key}.npz")
        else:
            ScoreCell(self.models, self.folder, key, part).write()

    def finish(self, progress: Progress) -> None:
        """See `Work.finish`: times every method."""
        progress.events.note("timing every method beside the model as it is")
        for condition, path in self._untimed():
            if condition.fit in self.models.fitted:
                path.parent.mkdir(exist_ok=True)
                measure_overhead(self.models, condition, path)
            progress.step()

    def _models(self, fitted: Mapping[Fit, Fitted]) -> ConditionModels:
        return ConditionModels(self.plan, self.model, fitted)

    def _wanted(self, todo: Sequence[Cell]) -> set[Fit]:
        """The fits that cells and overheads need, and those that are damaged."""
        scored = {_part(cell).condition.fit for cell in todo}
        timed = {condition.fit for condition, _ in self._untimed()}
        return {fit for fit in scored | timed | self._damaged() if fit is not None}

    def _damaged(self) -> set[Fit]:
        """The fits that are there and are not what was written."""
        places = {fit: self.folder / "fits" / key for fit, key in self.keys.fits.items()}
        sealed = Run(self.folder).sealed
        return {
            fit
            for fit, place in places.items()
            if place.is_dir() and fit_flaw(place, sealed=sealed)
        }

    def _untimed(self) -> list[tuple[Condition, Path]]:
        """Every method at its largest strength whose overhead is missing, and the file for it."""
        if not self.plan.study.mitigation.timed:
            return []
        files = [
            (
                Condition(fit, max(setting.strengths)),
                self.folder / "overhead" / f"{self.keys.fits[fit]}.json",
            )
            for setting, fit in fits_of(self.plan.settings)
            if fit.role == "mitigated"
        ]
        sealed = Run(self.folder).sealed
        return [(condition, path) for condition, path in files if not _is_sound(path, sealed)]


def _is_sound(path: Path, sealed: bool) -> bool:
    try:
        return bool(read_sealed(path, of=f"overhead/{path.stem}", always=sealed))
    except BadTable:
        return False


def _part(cell: Cell) -> Part:
    assert isinstance(cell.part, Part)
    return cell.part
