"""Run a plan: one cell after the other, each written once and whole, so that nothing is lost."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from vlbias.causal.staged import StagedModel
from vlbias.errors import BadStudy, BadTable
from vlbias.files import unwritable
from vlbias.models import load_model
from vlbias.outcomes import OUTCOMES
from vlbias.runs.cells import CellWork, keep_memory
from vlbias.runs.lock import held
from vlbias.runs.manifest import difference, manifest_of
from vlbias.runs.workers import in_this_process, in_workers
from vlbias.store.boxes import write_true_boxes
from vlbias.store.run_folder import Run, cell_key, write_json
from vlbias.studies.arms.plan import Plan, engine_of
from vlbias.studies.language.screening import screened
from vlbias.studies.language.wording import worded

__all__ = [
    "BYTES_PER_ROW",
    "QUIET",
    "Events",
    "RunResult",
    "keep_memory",
    "log_session",
    "model_of",
    "refuse_unwritable",
    "refuse_workers",
    "run_plan",
    "start_run",
    "workers_for",
]

BYTES_PER_ROW = 10


@dataclass(frozen=True)
class Events:
    """What a run tells whoever watches it; everything may be ignored.

    Args:
        note: What is being done now.
        cells: Cells done, cells in all, examples in the cell that was just done.
    """

    note: Callable[[str], None] = lambda text: None
    cells: Callable[[int, int, int], None] = lambda done, total, examples: None


QUIET = Events()
"""Nobody watches."""


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Args:
        folder: The run folder.
        done: Cells computed now.
        skipped: Cells that were there already.
        failed: Keys of cells that failed; each has an error file.
    """

    folder: Path
    done: int
    skipped: int
    failed: tuple[str, ...] = field(default=())


def run_plan(
    plan: Plan,
    out: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    events: Events = QUIET,
) -> RunResult:
    """Compute the cells of a plan that are not there yet.

    Args:
        plan: A checked study.
        out: Where the run folder is made.
        shard: (i, n): every n-th cell from the i-th on, for several machines on one folder.
        workers: Processes of one thread that share the cells; 1 is this process with all its
            threads, 0 chooses. Two processes of one thread are faster than one of two.
        events: Who watches.

    Raises:
        BadStudy: if the folder holds another study, the shard is no part, or several workers are
            asked for where there can be only one.
        BadTable: if the folder cannot be written, or the disk is or would be full.
        FolderInUse: if another process works on the same cells.
        BadModel: if the model cannot be loaded.
    """
    index, parts = shard
    if not 0 <= index < parts:
        raise BadStudy("shard", f"{index}/{parts}", "i/n with 0 <= i < n")
    refuse_workers(workers, plan.study.device)
    folder = out / plan.study.name
    refuse_unwritable(folder, plan.rows * BYTES_PER_ROW)
    with held(folder, range(index, len(plan.shards), parts), events.note):
        return _run(plan, folder, shard, workers, events)


def _run(
    plan: Plan, folder: Path, shard: tuple[int, int], workers: int, events: Events
) -> RunResult:
    events.note("loading the model")
    keep_memory()
    model = model_of(plan)
    plan, wordings = worded(plan, model)
    plan, screening = screened(plan, folder, model, events.note)
    keys = _keys(plan, model, wordings)
    engine = engine_of(plan, model)
    manifest = manifest_of(plan, model, engine, keys) | wordings | screening
    start_run(folder, plan, manifest)
    mine = list(zip(keys, plan.shards, strict=True))[shard[0] :: shard[1]]
    todo = [cell for cell in mine if not (folder / "cells" / f"{cell[0]}.parquet").is_file()]
    if not todo:
        return RunResult(folder, 0, len(mine))
    count = workers_for(workers, plan.study.device, len(todo))
    began, failed, peak = time.monotonic(), [], 0.0
    done = len(mine) - len(todo)
    events.note("encoding what all examples share")
    work = CellWork(plan, folder, model)
    for step in in_this_process(work, todo) if count == 1 else in_workers(work, todo, count):
        peak = max(peak, step.peak_mib)
        done += 1
        failed += [] if step.ok else [step.key]
        events.cells(done, len(mine), step.examples)
    log_session(folder, count, len(todo), len(failed), time.monotonic() - began, peak)
    return RunResult(folder, len(todo) - len(failed), len(mine) - len(todo), tuple(failed))


def model_of(plan: Plan) -> StagedModel:
    """The loaded model of a plan."""
    study = plan.study
    model: Any = load_model(
        study.model, device=study.device, dtype=study.dtype, random=study.random_weights
    )
    needs = {key for name in study.outcomes for key in OUTCOMES.load(name)(()).needs}
    if study.is_of_texts and needs == {"candidate_score"}:
        model = model.scores_only()
    loaded: StagedModel = model
    return loaded


def refuse_workers(asked: int, device: str) -> None:
    """Nothing, if so many processes can share a model; see `run_plan`."""
    if asked < 0 or (asked > 1 and not _can_fork(device)):
        raise BadStudy(
            "workers",
            asked,
            f"0 or 1 on {sys.platform} with device {device!r}: only Linux processes on the CPU can "
            "share a model. --shard shares a run out between processes started by hand",
        )


def _can_fork(device: str) -> bool:
    # elsewhere a process that has used its threads, or an accelerator, cannot be forked safely
    return sys.platform == "linux" and device == "cpu"


def workers_for(asked: int, device: str, cells: int) -> int:
    """How many processes to run: as asked, or one per core for many cells on a CPU."""
    if asked > 0:
        return min(asked, cells)
    cores = len(os.sched_getaffinity(0)) if _can_fork(device) else 1
    return cores if cells >= 2 * cores else 1


def _keys(plan: Plan, model: StagedModel, wordings: Mapping[str, Any] | None = None) -> list[str]:
    exclude = {"name", "model", "device", "operating_point", "min_group", "dataset"}
    exclude |= {"random_weights"}  # the revision tells
    # runs without them keep the keys they had before there were such choices
    exclude |= set() if plan.study.keep_boxes else {"keep_boxes"}
    exclude |= {"screen"} if plan.study.screen is None else set()
    exclude |= {"align"} if plan.study.align == "record" else set()
    study = plan.study.model_dump(mode="json", exclude=exclude)
    used = {world for pair in plan.study.pairs for world in (pair.base, pair.cf)}
    study["worlds"] = {name: world for name, world in study["worlds"].items() if name in used}
    common = {
        "study": study,
        "model": model.name,
        "revision": model.revision,
        "data": plan.dataset.content_hash,
        "mediators": [str(mediator) for mediator in plan.mediators],
        "shared": [example.id for example in plan.examples],
        "version": version("vlbias"),
        **(wordings or {}),
    }
    base = cell_key(common)
    return [cell_key({"study": base, "samples": [e.id for e in shard]}) for shard in plan.shards]


def start_run(folder: Path, plan: Plan, manifest: dict[str, Any]) -> None:
    """Write what a run folder says of its study, or check that it says this.

    Raises:
        BadStudy: if the folder holds another study.
    """
    if (folder / "manifest.json").is_file():
        before = Run(folder).manifest
        if before["cells"] != manifest["cells"]:
            raise BadStudy(
                "name",
                plan.study.name,
                f"a name of its own: {folder} holds another study"
                f" ({difference(before, manifest)}). Rename this study, or move that folder",
            )
        # the same numbers, read otherwise: another operating point needs no cell to be computed again
        now = {key: manifest[key] for key in ("study", "paper_unknowns")}
        if any(before[key] != value for key, value in now.items()):
            write_json(folder / "manifest.json", {**before, **now})
        return
    attributes = pd.DataFrame([dict(example.attributes) for example in plan.examples])
    samples = pd.DataFrame(
        {"sample_id": [e.id for e in plan.examples], "cluster": [e.cluster for e in plan.examples]}
    )
    pd.concat([samples, attributes], axis=1).to_parquet(folder / "samples.parquet")
    classes = set(plan.dataset.classes)
    present = [
        (e.id, name) for e in plan.examples for name in sorted(e.targets["present"] & classes)
    ]
    pd.DataFrame(present, columns=["sample_id", "target"]).to_parquet(folder / "present.parquet")
    if plan.study.keep_boxes:
        objects = [(e.id, *box) for e in plan.examples for box in e.targets["objects"]]
        write_true_boxes(folder, [box for box in objects if box[1] in classes])
    write_json(folder / "manifest.json", manifest)


def log_session(
    folder: Path, workers: int, cells: int, failed: int, seconds: float, peak_mib: float
) -> None:
    """Note in the manifest what a session did."""
    manifest = Run(folder).manifest
    manifest["sessions"].append(
        {
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "workers": workers,
            "cells": cells,
            "failed": failed,
            "seconds": round(seconds, 1),
            "peak_memory_mib": round(peak_mib),
        }
    )
    write_json(folder / "manifest.json", manifest)


def refuse_unwritable(folder: Path, needed: int) -> None:
    """Nothing, if so many bytes can be written there.

    Raises:
        BadTable: otherwise.
    """
    probe = folder / "cells" / f".probe.{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise unwritable(folder, error) from error
    if free < needed:
        raise BadTable(
            f"{folder}: the table takes up to {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            "free some space or choose another folder with --out"
        )
