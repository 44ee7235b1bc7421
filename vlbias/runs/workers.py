"""Cells in this process, or shared out to several: on a CPU, processes of one thread waste least."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from pickle import UnpicklingError

import torch

from vlbias.errors import BadTable, VlbiasError
from vlbias.runs.cells import compute_cell
from vlbias.runs.interfaces import Cell, Step, Work

__all__ = ["in_this_process", "in_workers"]

# asking the kernel for shared pages takes tens of milliseconds, and holds up the process asked about
_SECONDS_BETWEEN_LOOKS = 10
SECONDS_STOPPED = 60
"""After so many seconds a run no longer waits for a worker that somebody stopped."""


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
        BadTable: if a worker dies, is stopped for `SECONDS_STOPPED`, or the disk is full; finished cells
            are kept.
    """
    workers = _Workers(work, [todo[number::count] for number in range(count)])
    try:
        yield from workers.steps()
    finally:
        workers.end()


class _Workers:
    """Processes that share out cells, each with a pipe of its own: one that dies holds up no other.

    Args:
        work: What all cells share.
        parts: The cells of each.
    """

    def __init__(self, work: Work, parts: Sequence[Sequence[Cell]]) -> None:
        self.folder = work.folder
        self.processes: dict[Connection, BaseProcess] = {}
        context = multiprocessing.get_context("fork")
        for part in parts:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(work, part, theirs, os.getpid()), daemon=True
            )
            process.start()
            theirs.close()  # the pipe ends with its worker
            self.processes[ours] = process

    def steps(self) -> Iterator[Step]:
        """What the workers did, as they did it."""
        running, peak, looked, checked = dict(self.processes), 0.0, -math.inf, -math.inf
        looks: Counter[int] = Counter()
        while running:
            now = time.monotonic()
            if now - looked >= _SECONDS_BETWEEN_LOOKS:
                alive = [process.pid for process in running.values()]
                peak, looked = max(peak, sum(map(_mib, [os.getpid(), *alive]))), now
            for pipe in wait(list(running), timeout=1):
                assert isinstance(pipe, Connection)
                step = self._received(pipe)
                if step.stopped:
                    raise BadTable(step.stopped)
                if step.key:
                    yield replace(step, peak_mib=peak)
                else:
                    del running[pipe]
            if now - checked >= 1:
                checked = now
                self._refuse_stopped(running.values(), looks)

    def _received(self, pipe: Connection) -> Step:
        try:
            step: Step = pipe.recv()
        except (EOFError, OSError, UnpicklingError):
            process = self.processes[pipe]
            process.join(5)
            raise BadTable(
                f"a worker of {self.folder} died with exit code {process.exitcode}, perhaps for want of "
                "memory; finished cells are kept: go on with fewer --workers"
            ) from None
        return step

    def _refuse_stopped(self, running: Iterable[BaseProcess], looks: Counter[int]) -> None:
        # looks are counted, a second apart: time in which this process was stopped too is none
        for process in running:
            pid = process.pid or 0
            looks[pid] = looks[pid] + 1 if _is_stopped(pid) else 0
            if looks[pid] >= SECONDS_STOPPED:
                raise BadTable(
                    f"a worker of {self.folder} (process {pid}) has been stopped for {looks[pid]} s, as by "
                    "SIGSTOP; finished cells are kept: run the same command again"
                )

    def end(self) -> None:
        """End all workers, also those that are stopped."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(5)
            if process.is_alive():
                process.kill()  # which a stopped process hears too
                process.join()


def _work(work: Work, todo: Sequence[Cell], steps: Connection, parent: int) -> None:
    # Ctrl-C goes to all processes of a terminal; the parent says what was kept, and ends its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # a forked process may not enter the thread pool of its parent
    torch.set_num_threads(1)
    # nor the progress bar, which may hold its lock just now
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    with suppress(BrokenPipeError):  # the parent is gone
        try:
            for cell in todo:
                if os.getppid() != parent:
                    return
                steps.send(Step(cell.key, compute_cell(work, cell), len(cell.part)))
        except VlbiasError as error:
            steps.send(Step(stopped=str(error)))
        steps.send(Step())


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has just ended
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")


def _mib(pid: int | None) -> float:
    """Memory of a process in MiB, where pages that n processes share count 1/n for each."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
