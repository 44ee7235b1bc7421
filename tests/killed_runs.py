"""Runs a study in children that are killed, goes on with it, then runs it whole: used by test_runner.

One process imports the libraries once and forks; with one thread, so that forking is safe.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vlbias.models import outline_model
from vlbias.runs import workers
from vlbias.store import cell_writer as store
from vlbias.studies import lifecycle
from vlbias.studies.lifecycle import run_plan


def after(calls: int, of: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which kills the process when it is called once more than `calls` times."""
    left = calls

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return of(*args, **kwargs)

    return counted


def between_cells() -> None:
    workers.compute_cell = after(1, workers.compute_cell)


def inside_a_cell() -> None:
    store.CellWriter.add = after(130, store.CellWriter.add)  # type: ignore[method-assign]


def half_written() -> None:
    write = store.pq.write_table

    def half(table: Any, path: Path, **options: Any) -> None:
        write(table, path, **options)
        Path(path).write_bytes(Path(path).read_bytes()[:100])

    store.pq.write_table = half
    os.replace = after(0, os.replace)


def orphaned(study: str, out: Path) -> None:
    """Kills a run with two workers after its first cell; they may finish the cell they are in."""
    child = os.fork()
    if child == 0:
        compute = workers.compute_cell

        def slowly(*args: Any) -> bool:
            done = compute(*args)
            time.sleep(0.5)
            return done

        workers.compute_cell = slowly
        run_plan(lifecycle.make_plan(lifecycle.read_study(Path(study))), out, workers=2)
        os._exit(0)
    cells = out / "tiny" / "cells"
    while not list(cells.glob("*.parquet")):
        time.sleep(0.02)
    left = Path(f"/proc/{child}/task/{child}/children").read_text().split()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.02)
    left_over = [pid for pid in left if alive(pid)]
    print("workers", len(left), "left over", len(left_over), len(list(cells.glob("*.parquet"))) < 5)


def alive(pid: str) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def main(study: str, killed: str, whole: str) -> None:
    torch.set_num_threads(1)
    outline_model(
        lifecycle.read_study(Path(study)).model
    )  # imports what the children would import thrice
    cells = Path(killed) / "tiny" / "cells"
    for sabotage in (between_cells, inside_a_cell, half_written):
        child = os.fork()
        if child == 0:
            sabotage()
            lifecycle.run(study, killed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"{sabotage.__name__} was not killed: {status}"
        print(sabotage.__name__, len(list(cells.glob("*.parquet"))), flush=True)
    for out in (killed, whole):
        result = lifecycle.run(study, out)
        print("done", result.done, "skipped", result.skipped, flush=True)
    orphaned(study, Path(killed) / "workers")


if __name__ == "__main__":
    main(*sys.argv[1:])
