"""Merging the many files of a run's cells into few large ones; killed at any moment, nothing is lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlbias.errors import BadTable
from vlbias.files import to_disk, whole
from vlbias.runs.events import QUIET, Events, Progress
from vlbias.runs.lock import locked
from vlbias.store.compact_files import COMPACT, CompactFile
from vlbias.store.merging import merge_tables, rows_held
from vlbias.store.run_folder import Run
from vlbias.store.slab_index import SLAB

__all__ = ["Compacted", "compact"]

_ROWS = 400_000_000
"""Rows of a large file, at most: 1 to 2 GB."""
_HELD = 16_000_000
"""Rows in memory, at most: about 1 GB."""


@dataclass(frozen=True)
class Compacted:
    """What was merged.

    Args:
        cells: Cells that are in large files now.
        files: Large files in the run folder.
        merged: Cells that were merged by this call.
        why_none: Why nothing can be merged in a run of this kind; empty otherwise.
    """

    cells: int
    files: int
    merged: int
    why_none: str = ""


def compact(folder: Path, events: Events = QUIET) -> Compacted:
    """Merge the cells of a run that have files of their own.

    Every large file is written whole and sealed before the cells that it holds are removed. What is damaged
    stays where it is, for `vlbias resume`. A run that goes on later writes new cells beside.

    Args:
        folder: A run folder.
        events: Who watches.

    Raises:
        BadTable: if it is no run folder, or the disk is full.
        FolderInUse: if another process computes cells in it.
    """
    keys = Run(folder).manifest["cells"]
    with locked(folder, range(max(len(keys), 1)), events.note):
        run = Run(folder)  # anew: another process may have ended just now
        if why := _why_none(run):
            return Compacted(0, 0, 0, why)
        _clear(run)
        todo = [path for path in run.files if path.parent.name == "cells"]
        progress = Progress(events, 0, len(todo))
        for paths in _batches(todo):
            _merge(folder, paths)
            for _ in paths:
                progress.step()
        done = Run(folder).cells.compact
        return Compacted(sum(len(one.cells) for one in done), len(done), len(todo))


def _why_none(run: Run) -> str:
    """Why cells of a run stay as they are; empty if they are parts of a table of potential outcomes."""
    if "parts" in run.manifest:
        return "the cells of a study of mitigations are few"
    tables = [path for path in run.files if path.suffix == ".parquet"]
    if len(tables) < len(run.files) or not all(map(_has_slabs, tables[:1])):
        return "its cells are small files, and no parts of a table of potential outcomes"
    return ""


def _has_slabs(path: Path) -> bool:
    return set(SLAB) <= set(pq.read_schema(path).names)


def _clear(run: Run) -> None:
    """Remove what an earlier call that was killed has left: half files, and cells that were merged."""
    folder = run.folder / COMPACT
    sealed = {path.stem for path in folder.glob("[!.]*.json")}
    for path in folder.glob("*"):
        if path.name.startswith(".") or path.name.partition(".")[0] not in sealed:
            path.unlink(missing_ok=True)
    for one in run.cells.compact:
        _remove(run.folder, one.cells)


def _batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Cells that become one file each."""
    batch, rows, held = list[Path](), 0, 0
    for path in paths:
        more, in_memory = rows_held(path)
        if batch and (rows + more > _ROWS or held + in_memory > _HELD):
            yield batch
            batch, rows, held = [], 0, 0
        batch.append(path)
        rows, held = rows + more, held + in_memory
    if batch:
        yield batch


def _merge(folder: Path, paths: Sequence[Path]) -> None:
    target = CompactFile(folder, tuple(path.stem for path in paths))
    try:
        merge_tables(paths, target.table)
        boxes = [path.with_suffix(".boxes.parquet") for path in paths]
        if any(path.is_file() for path in boxes):
            _join(boxes, target.boxes)
        target.close()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise BadTable(
            f"the disk of {folder} is full: merging needs room for one large file; free some space and run "
            f"`vlbias compact {folder}` again: all cells are kept"
        ) from error
    _remove(folder, target.cells)


def _join(paths: Sequence[Path], target: Path) -> None:
    """Write the rows of several tables one after another."""
    schema = pq.read_schema(paths[0])
    with whole(target) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as out:
        for path in paths:
            out.write_table(pa.table(pq.read_table(path)).cast(schema))


def _remove(folder: Path, keys: Sequence[str]) -> None:
    """Remove the files of cells that are in a large one."""
    cells = folder / "cells"
    for key in keys:
        for suffix in (".parquet", ".boxes.parquet", ".sum"):
            (cells / f"{key}{suffix}").unlink(missing_ok=True)
    to_disk(cells)
