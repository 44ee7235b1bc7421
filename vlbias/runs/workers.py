"""Cells in this process, or shared out to several: on a CPU, processes of one thread waste least."""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vlbias.errors import BadTable, VlbiasError
from vlbias.runs.cells import compute_cell
from vlbias.runs.interfaces import Cell, Work

__all__ = ["Step", "in_this_process", "in_workers"]

# asking the kernel for shared pages takes tens of milliseconds, and holds up the process asked about
_SECONDS_BETWEEN_LOOKS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """A cell that was dealt with, or the end of a worker.

    Args:
        key: The cell; empty at the end of a worker.
        ok: Whether it was computed.
        samples: How many samples it has.
        peak_mib: Largest memory seen so far, of all processes together.
        stopped: Why the whole run has to stop; empty if it need not.
    """

    key: str = ""
    ok: bool = True
    samples: int = 0
    peak_mib: float = 0.0
    stopped: str = ""


def in_this_process(work: Work, todo: Sequence[Cell]) -> Iterator[Step]:
    """The cells one after the other."""
    for cell in todo:
        ok = compute_cell(work, cell)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield Step(cell.key, ok, len(cell.part), peak)


def in_workers(work: Work, todo: Sequence[Cell], count: int) -> Iterator[Step]:
    """The cells, every count-th by one of `count` forked processes of one thread each.

    The processes share the model and what was encoded for all with this one. A worker whose parent
    is gone stops after the cell it is in, so that a killed run leaves nobody behind.

    Raises:
        BadTable: if a worker dies or the disk is full; finished cells are kept.
    """
    context = multiprocessing.get_context("fork")
    steps: Any = context.Queue()
    workers = [
        context.Process(
            target=_work, args=(work, todo[number::count], steps, os.getpid()), daemon=True
        )
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    running, peak, looked = count, 0.0, -math.inf
    try:
        while running:
            if time.monotonic() - looked >= _SECONDS_BETWEEN_LOOKS:
                peak = max(peak, sum(_mib(pid) for pid in [os.getpid(), *(w.pid for w in workers)]))
                looked = time.monotonic()
            try:
                step: Step = steps.get(timeout=1)
            except queue.Empty:
                dead = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
                if dead:
                    raise BadTable(
                        f"a worker of {work.folder} died with exit code {dead[0]}, perhaps for want "
                        "of memory; finished cells are kept: go on with fewer --workers"
                    ) from None
                continue
            if step.stopped:
                raise BadTable(step.stopped)
            running -= not step.key
            if step.key:
                yield replace(step, peak_mib=peak)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(work: Work, todo: Sequence[Cell], steps: Any, parent: int) -> None:
    # a forked process may not enter the thread pool of its parent
    torch.set_num_threads(1)
    # nor the progress bar, which may hold its lock just now
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    try:
        for cell in todo:
            if os.getppid() != parent:
                return
            steps.put(Step(cell.key, compute_cell(work, cell), len(cell.part)))
    except VlbiasError as error:
        steps.put(Step(stopped=str(error)))
    steps.put(Step())


def _mib(pid: int | None) -> float:
    """Memory of a process in MiB, where pages that n processes share count 1/n for each."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
