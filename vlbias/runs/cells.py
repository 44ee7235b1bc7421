"""One cell: computed and written whole, or recorded as failed with the reason."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from errno import ENOSPC
from pathlib import Path

from vlbias.errors import BadTable
from vlbias.files import write_json
from vlbias.runs.interfaces import Cell, Work
from vlbias.store.seals import seal_cell

__all__ = ["attempted", "compute_cell", "write_failure"]


def compute_cell(work: Work, cell: Cell) -> bool:
    """Whether a cell was computed and written; if not, its error file says why.

    Raises:
        BadTable: if the disk is full: then no other cell can be written either.
    """
    error = work.folder / "cells" / f"{cell.key}.error.json"

    def do() -> None:
        work.fill(cell.key, cell.part)
        seal_cell(work.folder, cell.key)

    return attempted(work.folder, error, work.samples(cell.part), do)


def attempted(
    folder: Path, error: Path, samples: list[tuple[str, str]], do: Callable[[], None]
) -> bool:
    """Whether something was done; if not, the error file says why, and the run goes on.

    Raises:
        BadTable: if the disk is full.
    """
    try:
        do()
    except OSError as problem:
        if problem.errno == ENOSPC:
            raise BadTable(
                f"the disk of {folder} is full; free some space and run `vlbias resume {folder}`: "
                "finished cells are kept"
            ) from problem
        _record_failure(error, problem, samples)
        return False
    except Exception as problem:  # the one place: a failed cell is recorded, counted, and run again
        _record_failure(error, problem, samples)
        return False
    error.unlink(missing_ok=True)
    return True


def _record_failure(path: Path, problem: Exception, samples: list[tuple[str, str]]) -> None:
    said = f"{type(problem).__name__}: {problem}"
    write_failure(path, said, samples, traceback.format_exception(problem))


def write_failure(
    path: Path, error: str, samples: list[tuple[str, str]], lines: Sequence[str] = ()
) -> None:
    """Write the error file of a cell.

    Args:
        path: The file.
        error: What went wrong.
        samples: Ids and clusters of the cell's samples.
        lines: Of the traceback, if there is one.
    """
    names = [sample for sample, _ in samples]
    write_json(path, {"error": error, "samples": names, "traceback": list(lines)})
