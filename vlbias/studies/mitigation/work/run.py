"""Run a study of mitigations: fit each once, then one cell per condition and split; nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlbias.causal.staged import StagedModel
from vlbias.files import write_json
from vlbias.runs.cells import keep_memory
from vlbias.runs.lock import locked
from vlbias.runs.manifest import manifest_of
from vlbias.runs.runner import (
    BYTES_PER_ROW,
    QUIET,
    Events,
    RunResult,
    log_session,
    model_of,
    refuse_unwritable,
    refuse_workers,
    start_run,
    workers_for,
)
from vlbias.runs.workers import in_this_process, in_workers
from vlbias.store.cells import cell_key
from vlbias.store.run_folder import Run
from vlbias.studies.arms.plan import engine_of
from vlbias.studies.mitigation.conditions import Fit, Part, fit_key, fits_of
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.study import Setting
from vlbias.studies.mitigation.work.cells import MitigationWork
from vlbias.studies.mitigation.work.fits import Progress, common_of, fit_all
from vlbias.studies.mitigation.work.overhead import measure_overhead

__all__ = ["run_mitigation"]


def run_mitigation(
    plan: MitigationPlan, out: Path, *, workers: int = 1, events: Events = QUIET
) -> RunResult:
    """Compute what a study of mitigations still lacks: fits, cells, overheads.

    Every fit is a folder below `fits/`, every cell a file below `cells/`, every overhead a file below
    `overhead/`: each is there or it is not, so that a killed run goes on where it was.

    Args:
        plan: A checked study.
        out: Where the run folder is made.
        workers: As in `runner.run_plan`.
        events: Who watches.

    Raises:
        BadStudy: if the folder holds another study.
        BadTable: if the folder cannot be written, or the disk is full.
        FolderInUse: if another process works on it.
        BadModel: if the model cannot be loaded.
    """
    study = plan.study
    refuse_workers(workers, study.device)
    folder = out / study.name
    refuse_unwritable(folder, plan.plan.rows * len(plan.conditions) * BYTES_PER_ROW)
    with locked(folder, note=events.note):
        return _run(plan, folder, workers, events)


def _run(plan: MitigationPlan, folder: Path, workers: int, events: Events) -> RunResult:
    events.note("loading the model")
    keep_memory()
    model = model_of(plan.plan)
    common = common_of(plan)
    keys = {fit: fit_key(setting, fit, model, common) for setting, fit in fits_of(plan.settings)}
    cells = [(_cell_key(part, keys, model, common), part) for part in plan.parts(model)]
    _start(folder, plan, model, cells, keys)
    todo = [cell for cell in cells if not cell_path(folder, *cell).is_file()]
    timed = _untimed(folder, plan, keys)
    if not todo and not timed:
        return RunResult(folder, 0, len(cells))
    began = time.monotonic()
    wanted = {part.condition.fit for _, part in todo} | {fit for _, fit in timed}
    steps = len(cells) + len(wanted - {None}) + len(timed)
    progress = Progress(events, len(cells) - len(todo), steps)
    fits = fit_all(plan, model, folder, keys, wanted, progress)
    work = MitigationWork(plan, folder, model, fits.fitted)
    ready = [cell for cell in todo if (cell[1].condition.fit or None) in {None, *fits.fitted}]
    count = workers_for(workers, plan.study.device, len(ready)) if ready else 1
    broken, peak = _score(work, ready, count, progress)
    events.note("timing every method beside the model as it is")
    for setting, fit in timed:
        if fit in fits.fitted:
            measure_overhead(work, fit, max(setting.strengths), overhead_path(folder, keys[fit]))
        progress.step()
    undone = [key for key, _ in todo if key in broken or key not in dict(ready)]
    log_session(folder, count, len(todo), len(undone), time.monotonic() - began, peak)
    return RunResult(
        folder, len(todo) - len(undone), len(cells) - len(todo), (*fits.failed, *undone)
    )


def _score(
    work: MitigationWork, ready: Sequence[tuple[str, Part]], count: int, progress: Progress
) -> tuple[set[str], float]:
    """Computes cells; keys of those that failed, and the largest memory in MiB."""
    progress.events.note("scores of every condition")
    work.remember(ready)
    peak, broken = 0.0, set()
    for step in in_this_process(work, ready) if count == 1 else in_workers(work, ready, count):
        peak = max(peak, step.peak_mib)
        broken |= set() if step.ok else {step.key}
        progress.step(step.examples)
    return broken, peak


def _cell_key(part: Part, fits: dict[Fit, str], model: StagedModel, common: Any) -> str:
    fit = part.condition.fit
    return cell_key(
        {
            "fit": fits[fit] if fit else "none",
            "strength": part.condition.strength,
            "split": part.split,
            "kind": part.kind,
            "revision": model.revision,
            "common": common,
        }
    )


def cell_path(folder: Path, key: str, part: Part) -> Path:
    """The file of a cell: a table of scores, or arrays of a map."""
    return folder / "cells" / f"{key}{'.npz' if part.kind == 'map' else '.parquet'}"


def overhead_path(folder: Path, key: str) -> Path:
    """The file of a fit's overhead."""
    return folder / "overhead" / f"{key}.json"


def _untimed(folder: Path, plan: MitigationPlan, keys: dict[Fit, str]) -> list[tuple[Setting, Fit]]:
    if not plan.study.mitigation.timed:
        return []
    own = [(setting, fit) for setting, fit in fits_of(plan.settings) if fit.role == "mitigated"]
    return [one for one in own if not overhead_path(folder, keys[one[1]]).is_file()]


def _start(
    folder: Path,
    plan: MitigationPlan,
    model: StagedModel,
    cells: Sequence[tuple[str, Part]],
    keys: dict[Fit, str],
) -> None:
    for name in ("fits", "overhead"):
        (folder / name).mkdir(exist_ok=True)
    scores = [key for key, part in cells if part.kind == "scores"]
    manifest = manifest_of(plan.plan, model, engine_of(plan.plan, model), scores)
    manifest["study"] = plan.study.model_dump(mode="json")
    manifest["kind"] = "mitigation"
    manifest["conditions"] = [
        {**condition.about(), "fit": keys[condition.fit] if condition.fit else ""}
        for condition in plan.conditions
    ]
    manifest["settings"] = {
        setting.label: {
            "method": setting.method,
            "varied": setting.varied,
            "spec": setting.make().spec,
            "place": setting.make().place,
        }
        for setting in plan.settings
    }
    manifest["parts"] = {
        key: {"condition": part.condition.name, "split": part.split, "kind": part.kind}
        for key, part in cells
    }
    asked = plan.asked[plan.study.mitigation.report]
    manifest["queries"] = dict(asked.queries or {})
    manifest["retrieval"] = bool(asked.captions)
    if (folder / "manifest.json").is_file():
        before = Run(folder).manifest
        if before["cells"][:1] == scores[:1] and before.get("kind") == "mitigation":
            # the same model on the same photos: more methods, or numbers read otherwise
            write_json(
                folder / "manifest.json",
                {**manifest, **{name: before[name] for name in ("created", "sessions")}},
            )
            return
    start_run(folder, plan.plan, manifest)
