"""How much a cell holds: about a minute of work, so that a kill costs little and files are few."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from vlbias.files import read_sealed, write_sealed
from vlbias.runs.events import QUIET, Events, Progress
from vlbias.runs.interfaces import MakeWork, Plan

__all__ = ["CELL_SIZE", "sized", "units_per_cell"]

CELL_SIZE = "cell_size.json"
_SECONDS = 60.0
_FEW = 256
"""So many files need no merging."""
_LEAST_CELLS = 64
"""Cells that a run keeps, so that many workers have work to the end."""
_TIMED = 4


def sized(plan: Plan, make_work: MakeWork, folder: Path, events: Events = QUIET) -> Plan:
    """A plan whose cells take about a minute each.

    The first process on a run folder times some pieces and writes down what it chose; all others follow it.

    Args:
        plan: A checked study.
        make_work: Loads what cells share.
        folder: The run folder.
        events: Who watches.

    Raises:
        BadTable: if what was chosen cannot be read.
        BadModel: if the model cannot be loaded.
    """
    path = folder / CELL_SIZE
    if plan.units <= _FEW:
        return plan
    if not path.is_file():
        if (folder / "manifest.json").is_file():
            return plan
        _choose(plan, make_work, path, events)
    chosen = read_sealed(path, of=CELL_SIZE, always=True)
    return plan.with_units_per_cell(int(chosen["units"]))


def units_per_cell(units: int, seconds: float) -> int:
    """Pieces that take about a minute together, if each takes `seconds` and there are so many."""
    return max(1, min(round(_SECONDS / max(seconds, 1e-9)), units // _LEAST_CELLS))


def _choose(plan: Plan, make_work: MakeWork, path: Path, events: Events) -> None:
    """Time some pieces, and write down how many make a cell, unless another process was first."""
    events.note("timing some of it: how much makes a cell of a minute?")
    count = units_per_cell(plan.units, _seconds(plan, make_work))
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f".{CELL_SIZE}.{os.getpid()}")
    write_sealed(own, {"units": count}, of=CELL_SIZE)
    try:
        os.link(own, path)
    except FileExistsError:
        events.note("another process was first: its size of cells is taken")
    finally:
        own.unlink()


def _seconds(plan: Plan, make_work: MakeWork) -> float:
    """What a piece takes, from a few that lie apart."""
    step = plan.units // _TIMED
    few = plan.with_units([*range(0, step * _TIMED, step), plan.units - 1])
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cells").mkdir()
        work = make_work(few, folder, lambda text: None)
        work.prepare(work.cells, Progress(QUIET, 0, len(work.cells)))
        first, *rest = work.cells
        work.fill(first.key, first.part)  # caches are cold
        began = time.monotonic()
        for cell in rest:
            work.fill(cell.key, cell.part)
        return (time.monotonic() - began) / len(rest)
