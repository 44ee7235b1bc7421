"""Run any study: each missing cell computed once and written whole, so that nothing is lost."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vlbias.errors import BadOption, BadStudy, BadTable
from vlbias.files import unwritable, write_sealed
from vlbias.runs.allocator import keep_memory
from vlbias.runs.cell_size import sized
from vlbias.runs.data_files import refuse_changed, remove_damaged, write_files
from vlbias.runs.events import QUIET, Events, Progress
from vlbias.runs.interfaces import BYTES_PER_ROW, Cell, Compute, MakeWork, Plan, Step, Work
from vlbias.runs.lock import locked
from vlbias.runs.manifest import difference
from vlbias.runs.ray_cluster import RayCluster
from vlbias.runs.rounds import compute_rounds
from vlbias.runs.workers import in_this_process, in_workers
from vlbias.store.manifest import MANIFEST
from vlbias.store.run_folder import Run
from vlbias.store.seals import UNDONE, sums_of
from vlbias.store.sessions import write_session

__all__ = ["RunResult", "run_plan"]


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Args:
        folder: The run folder.
        done: Cells computed now.
        skipped: Cells that were there already.
        failed: Keys of what failed; each has an error file.
        notes: What was damaged and was made anew, in words.
    """

    folder: Path
    done: int
    skipped: int
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def run_plan(
    plan: Plan,
    make_work: MakeWork,
    out: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    on: str = "",
    events: Events = QUIET,
) -> RunResult:
    """Compute the cells of a plan that are not there yet.

    Args:
        plan: A checked study.
        make_work: Loads what the cells share.
        out: Where the run folder is made.
        shard: (i, n): every n-th cell from the i-th on, for several machines on one folder.
        workers: Processes of one thread that share the cells; 1 is this process with all its
            threads, 0 chooses. Two processes of one thread are faster than one of two.
        on: Empty: this machine. "ray" starts a local Ray cluster or joins that of RAY_ADDRESS,
            "ray://host:port" joins another.
        events: Who watches.

    Raises:
        BadStudy: if the folder holds another study, the shard is no part, or several workers are
            asked for where there can be only one.
        BadTable: if the folder cannot be written, or the disk is or would be full.
        FolderInUse: if another process works on the same cells.
        BadModel: if the model cannot be loaded.
        BadData: if files of the data changed since the run folder was made.
    """
    index, parts = shard
    if not 0 <= index < parts:
        raise BadStudy("shard", f"{index}/{parts}", "i/n with 0 <= i < n")
    if parts > 1 and plan.n_parts == 1:
        raise BadStudy(
            "shard", f"{index}/{parts}", "0/1: the cells of this study need each other's fits"
        )
    cluster = _cluster(plan, make_work, on, workers)
    if cluster is None:
        _refuse_workers(workers, plan.device)
    folder = out / plan.study.name
    _refuse_unwritable(folder, plan.rows * BYTES_PER_ROW)
    files = dict(plan.files)  # opens those that are not open yet, before a model is loaded
    plan = sized(plan, make_work, folder, events)
    if cluster is not None:
        cluster.plan = plan
    with locked(folder, range(index, plan.n_parts, parts), events.note):
        notes = remove_damaged(folder, events.note)
        refuse_changed(folder, files)
        events.note(plan.study.beginning)
        keep_memory()
        work = make_work(plan, folder, events.note)
        _start(work, plan)
        mine = work.cells[index::parts]
        result = _computed(work, mine, cluster or _Here(plan.device, workers), events)
        return replace(result, notes=(*notes, *result.notes))


def _start(work: Work, plan: Plan) -> None:
    """Write what a new run folder says of its study, or check that an old one says the same.

    Raises:
        BadStudy: if the folder holds another study.
    """
    path, manifest = work.folder / "manifest.json", work.manifest()
    if not path.is_file():
        write_sealed(path, {**manifest, "sums": _tables(work, plan)}, of=MANIFEST)
        return
    before = Run(work.folder).manifest
    resumed = work.resumed(before, manifest)
    if resumed is None:
        raise BadStudy(
            "name",
            plan.study.name,
            f"a name of its own: {work.folder} holds another study"
            f" ({difference(before, manifest)}). Rename this study, or move that folder",
        )
    if "sums" in before:
        gone = [name for name in before["sums"] if not (work.folder / name).is_file()]
        resumed = {**resumed, "sums": _tables(work, plan) if gone else before["sums"]}
    if resumed != before:
        write_sealed(path, resumed, of=MANIFEST)


def _tables(work: Work, plan: Plan) -> dict[str, str]:
    """Write the tables that stand beside the manifest; gives their checksums."""
    work.write_samples()
    write_files(work.folder, plan.files)
    names = sorted(path.name for path in work.folder.glob("[!.]*.parquet"))
    return sums_of(work.folder, names)


def _undone(work: Work, mine: Sequence[Cell], events: Events) -> tuple[list[Cell], tuple[str, ...]]:
    """The cells that are not there or are damaged, and a sentence on each of the latter."""
    cells, todo, notes = Run(work.folder).cells, [], []
    for cell in mine:
        why = cells.flaw(cell.path(work.folder))
        todo += [cell] if why else []
        if why not in ("", UNDONE):
            notes.append(f"cell {cell.key} {why}; it is computed anew")
            events.note(notes[-1])
    return todo, tuple(notes)


def _computed(work: Work, mine: Sequence[Cell], compute: Compute, events: Events) -> RunResult:
    todo, notes = _undone(work, mine, events)
    extra = work.n_extra(todo)
    if not todo and not extra:
        return RunResult(work.folder, 0, len(mine))
    began = time.monotonic()
    progress = Progress(events, len(mine) - len(todo), len(mine) + extra)
    refused = work.prepare(todo, progress)
    ready = [cell for cell in todo if cell.key not in refused]
    broken, peak = set[str](), 0.0
    for step in compute_rounds(work, ready, compute, events.note):
        peak = max(peak, step.peak_mib)
        broken |= set() if step.ok else {step.key}
        progress.step(step.samples)
    work.finish(progress)
    keys = [cell.key for cell in todo]
    undone = [key for key in keys if key in broken or key in refused]
    write_session(
        work.folder,
        workers=compute.used,
        cells=len(todo),
        failed=len(undone),
        seconds=time.monotonic() - began,
        peak_mib=peak,
    )
    others = tuple(key for key in refused if key not in keys)
    return RunResult(
        work.folder, len(todo) - len(undone), len(mine) - len(todo), (*others, *undone), notes
    )


@dataclass
class _Here:
    """Computes cells on this machine: in this process, or shared out to several; see `Compute`."""

    device: str
    workers: int
    used: int = field(default=1, init=False)

    def __call__(self, work: Work, todo: Sequence[Cell]) -> Iterator[Step]:
        self.used = self._workers_for(len(todo))
        return in_this_process(work, todo) if self.used == 1 else in_workers(work, todo, self.used)

    def _workers_for(self, cells: int) -> int:
        """How many processes to run: as asked, or one per core for many cells on a CPU."""
        if self.workers > 0:
            return min(self.workers, cells)
        cores = len(os.sched_getaffinity(0)) if _can_fork(self.device) else 1
        return cores if cells >= 2 * cores else 1


def _cluster(plan: Plan, make_work: MakeWork, on: str, workers: int) -> RayCluster | None:
    """The cluster that computes the cells; None for this machine.

    Raises:
        BadStudy: if cells of the study need each other's fits.
        BadOption: if it is no address of a Ray cluster.
    """
    if not on:
        return None
    scheme, _, rest = on.partition("://")
    if scheme != "ray" or (rest == "" and on != "ray") or workers < 0:
        raise BadOption("on", on, "ray, or ray://host:port")
    if plan.n_parts == 1:
        raise BadStudy("on", on, "no cluster: the cells of this study need each other's fits")
    return RayCluster(plan, make_work, on if rest else "", workers)


def _refuse_workers(asked: int, device: str) -> None:
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


def _refuse_unwritable(folder: Path, needed: int) -> None:
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
