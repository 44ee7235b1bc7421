"""Cells in rounds: those of a round are computed once all cells of the rounds before it are there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from vlbias.errors import BadTable
from vlbias.runs.events import Note
from vlbias.runs.interfaces import Cell, Compute, Step, Work
from vlbias.store.run_folder import Run

__all__ = ["compute_rounds"]

SECONDS_WAITED = 600.0
"""So long a process waits for cells of others while none of them comes."""
_SECONDS_BETWEEN_LOOKS = 2.0


def compute_rounds(
    work: Work, ready: Sequence[Cell], compute: Compute, note: Note = lambda text: None
) -> Iterator[Step]:
    """Compute cells round by round.

    Args:
        work: The study.
        ready: The cells that this process computes.
        compute: Who does.
        note: Told what is waited for.

    Raises:
        BadTable: if cells of a former round failed, or other processes do not bring theirs.
    """
    wanted, former = {cell.key for cell in ready}, list[Cell]()
    for number, cells in enumerate(work.rounds):
        mine = [cell for cell in cells if cell.key in wanted]
        if mine:
            _await(work, former, wanted, number, note)
            work.begin(number)
            yield from compute(work, mine)
        former += cells


def _await(work: Work, former: Sequence[Cell], mine: set[str], number: int, note: Note) -> None:
    """Return once all these cells are there."""
    lacking, since = _lacking(work, former) if former else [], time.monotonic()
    if failed := [cell for cell in lacking if cell.key in mine]:
        raise BadTable(
            f"round {number} depends on all cells of former rounds, of which {len(failed)} failed: see "
            f"{work.folder / 'cells' / (failed[0].key + '.error.json')}; finished cells are kept: run the same "
            "command again"
        )
    if lacking:
        note(f"round {number} waits for {len(lacking)} cells of other processes")
    while lacking:
        if time.monotonic() - since > SECONDS_WAITED:
            raise BadTable(
                f"round {number} depends on {len(lacking)} cells that other processes (--shard) should "
                f"compute, and none came in {SECONDS_WAITED:.0f} s; finished cells are kept: run the same "
                "command again when theirs are there"
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        now = _lacking(work, lacking)
        if len(now) < len(lacking):
            lacking, since = now, time.monotonic()


def _lacking(work: Work, cells: Sequence[Cell]) -> list[Cell]:
    files = Run(work.folder).cells
    return [cell for cell in cells if files.flaw(cell.path(work.folder))]
