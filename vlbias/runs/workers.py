"""Cells in this process, or shared out to several: on a CPU, processes of one thread waste least."""

from __future__ import annotations

import multiprocessing
import os
import queue
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlbias.causal.example import Example
from vlbias.errors import BadTable, VlbiasError
from vlbias.models import load_model
from vlbias.runs.cells import CellWork, compute_cell, keep_memory
from vlbias.runs.plan import Plan

__all__ = ["Step", "in_this_process", "in_workers", "peak_mib"]

Cells = Sequence[tuple[str, tuple[Example, ...]]]


@dataclass(frozen=True, slots=True)
class Step:
    """A cell that was dealt with, or the end of a worker.

    Args:
        key: The cell; empty at the end of a worker.
        ok: Whether it was computed.
        examples: How many examples it has.
        peak_mib: Largest memory of the process, at its end.
        stopped: Why the whole run has to stop; empty if it need not.
    """

    key: str = ""
    ok: bool = True
    examples: int = 0
    peak_mib: float = 0.0
    stopped: str = ""


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_this_process(work: CellWork, todo: Cells) -> Iterator[Step]:
    """The cells one after the other."""
    for key, examples in todo:
        yield Step(key, compute_cell(work, key, examples), len(examples))
    yield Step(peak_mib=peak_mib())


def in_workers(plan: Plan, folder: Path, todo: Cells, count: int) -> Iterator[Step]:
    """The cells, every count-th by one of `count` processes.

    A worker whose parent is gone stops after the cell it is in, so that a killed run leaves nobody
    behind.

    Raises:
        BadTable: if a worker dies or the disk is full; finished cells are kept.
    """
    context = multiprocessing.get_context("spawn")
    steps: Any = context.Queue()
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    workers = [
        context.Process(
            target=_work, args=(plan, folder, todo[number::count], threads, steps), daemon=True
        )
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    running = count
    try:
        while running:
            try:
                step: Step = steps.get(timeout=1)
            except queue.Empty:
                dead = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
                if dead:
                    raise BadTable(
                        f"a worker of {folder} died with exit code {dead[0]}, perhaps for want of "
                        "memory; finished cells are kept: go on with fewer --workers"
                    ) from None
                continue
            if step.stopped:
                raise BadTable(step.stopped)
            running -= not step.key
            yield step
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(plan: Plan, folder: Path, todo: Cells, threads: int, steps: Any) -> None:
    import torch

    torch.set_num_threads(threads)
    keep_memory()
    parent = multiprocessing.parent_process()
    try:
        model = load_model(plan.study.model, device=plan.study.device, dtype=plan.study.dtype)
        work = CellWork(plan, folder, model)
        for key, examples in todo:
            if parent is not None and not parent.is_alive():
                return
            steps.put(Step(key, compute_cell(work, key, examples), len(examples)))
    except VlbiasError as error:
        steps.put(Step(stopped=str(error)))
    steps.put(Step(peak_mib=peak_mib()))
