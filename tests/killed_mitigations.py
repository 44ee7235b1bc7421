"""Runs a study of mitigations in children that are killed, goes on, then runs it whole.

Used by test_mitigation_runs; one process imports the libraries once and forks.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from killed_runs import after
from toy_studies import planted_plan

from vlbias.runs import workers
from vlbias.store import cell_writer as store
from vlbias.studies.lifecycle import run_plan
from vlbias.studies.mitigation.work import fits
from vlbias.studies.mitigation.work import run as mitigate

METHODS = [{"name": "leace", "options": {"sites": ["image_encoder/neuron"]}}]


def plan() -> Any:
    """A small study: two fits, five conditions, ten cells."""
    return planted_plan(METHODS, photos=600, strengths=[0.5, 1.0], timed=4)


def saving_a_fit() -> None:
    """Dies with the second fit written, but not yet in its place."""
    replace = os.replace
    seen: list[str] = []

    def move(source: Any, target: Any) -> None:
        seen.extend([str(target)] if "fits" in str(target) and "." not in str(target) else [])
        if len(seen) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    fits.os.replace = move  # type: ignore[attr-defined]


def between_cells() -> None:
    """Dies after three cells."""
    workers.compute_cell = after(3, workers.compute_cell)


def half_written() -> None:
    """Dies while a cell is being written."""
    write = store.pq.write_table

    def half(table: Any, path: Path, **options: Any) -> None:
        write(table, path, **options)
        Path(path).write_bytes(Path(path).read_bytes()[:100])

    store.pq.write_table = half
    os.replace = after(0, os.replace)


def timing() -> None:
    """Dies when all cells are there, before the overhead is."""
    mitigate.measure_overhead = after(0, mitigate.measure_overhead)


def main(killed: str, whole: str) -> None:
    """Prints what is there after each kill, and what the last run had to do."""
    torch.set_num_threads(1)
    folder = Path(killed) / "planted"
    sabotages: tuple[Callable[[], None], ...] = (
        saving_a_fit, between_cells, half_written, timing,
    )  # fmt: skip
    for sabotage in sabotages:
        child = os.fork()
        if child == 0:
            made = plan()
            sabotage()
            run_plan(made, Path(killed))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"{sabotage.__name__} was not killed: {status}"
        fits = len(list(folder.glob("fits/[!.]*/mitigation.json")))
        print(sabotage.__name__, fits, len(list(folder.glob("cells/[!.]*.parquet"))), flush=True)
    for out in (killed, whole):
        result = run_plan(plan(), Path(out))
        print(
            "done", result.done, "skipped", result.skipped, "failed", len(result.failed), flush=True
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
