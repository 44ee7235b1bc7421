"""Checksums of a run folder's files: written beside them, compared before a number is read.

    run/
      manifest.json           has a checksum of itself, and one of every table beside it, in `sums`
      cells/<key>.sum         checksums of all files of a cell, written last: without it a cell is not done
      fits/<key>/fit.json     has checksums of the other files of a fit

Folders of version 0.1.0 have none; their cells are compared with their name and the samples.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable
from vlbias.files import hash_of_file, read_sealed, write_json

__all__ = [
    "UNDONE",
    "cell_flaw",
    "fit_flaw",
    "refuse_damaged",
    "seal_cell",
    "sums_of",
    "wrong_sums",
]

UNDONE = "is not done"
"""What is wrong with a cell that was stopped before its checksum was written."""
_MARKED = 1 << 28
_SLOT = ("contrast", "mediator", "arm", "outcome", "sample_id", "target")


def seal_cell(folder: Path, key: str) -> None:
    """Write the checksums of a cell that is done."""
    cells = folder / "cells"
    besides = (f"{key}.sum", f"{key}.error.json")
    names = sorted(path.name for path in cells.glob(f"{key}.*") if path.name not in besides)
    write_json(cells / f"{key}.sum", sums_of(cells, names))


def sums_of(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Name to checksum of files in a folder."""
    return {name: hash_of_file(folder / name) for name in names}


def wrong_sums(folder: Path, sums: Mapping[str, str]) -> list[str]:
    """Names of the files that are gone, cannot be read, or are not what was written."""
    return [name for name, digest in sums.items() if not _is(folder / name, digest)]


def refuse_damaged(folder: Path, manifest: Mapping[str, Any], *names: str) -> None:
    """Nothing, if these tables of a run folder, all if none is named, are what was written.

    Raises:
        BadTable: names those that are not.
    """
    sums = manifest.get("sums", {})
    wrong = wrong_sums(folder, {n: sums[n] for n in names or sums if n in sums})
    if wrong:
        raise BadTable(f"{folder}: damaged: {', '.join(wrong)}; run `vlbias resume {folder}` first")


def _is(path: Path, digest: str) -> bool:
    try:
        return hash_of_file(path) == digest
    except OSError:
        return False


def fit_flaw(place: Path, *, sealed: bool) -> str:
    """What is wrong with the folder of a fit; empty if nothing is known to be.

    Args:
        place: The folder; its name is its key.
        sealed: Whether every fit of the run has checksums.
    """
    try:
        about = read_sealed(place / "fit.json", of=f"fits/{place.name}", always=sealed)
        sums = about.get("files", {})
    except BadTable as error:
        return str(error)
    wrong = wrong_sums(place, sums)
    return f"{place / wrong[0]} is damaged: it is not what was written" if wrong else ""


def cell_flaw(path: Path, *, model: str, samples: Collection[str] | None, sealed: bool) -> str:
    """What is wrong with a cell that is there; empty if nothing is known to be.

    Args:
        path: Its main file; the name is its key.
        model: The run's model; any if empty.
        samples: The run's samples, if it says which.
        sealed: Whether every cell of the run has checksums.
    """
    seal = path.with_suffix(".sum")
    if seal.is_file():
        wrong = _seal_flaw(path, seal)
    elif sealed:
        return UNDONE
    else:
        wrong = _content_flaw(path, samples)
    return wrong or _name_flaw(path, model)


def _seal_flaw(path: Path, seal: Path) -> str:
    try:
        sums = json.loads(seal.read_text(encoding="utf-8"))
        known = path.name in sums
    except (OSError, ValueError, TypeError):
        return "has a damaged checksum"
    if not known or not isinstance(sums, dict):
        return "has the checksum of other files"
    wrong = wrong_sums(path.parent, sums)
    return f"is damaged: {wrong[0]} is not what was written" if wrong else ""


def _name_flaw(path: Path, model: str) -> str:
    if path.suffix != ".parquet":
        return ""
    with pq.ParquetFile(path) as file:
        names = [name for name in ("cell", "model") if name in file.schema_arrow.names]
        for name, expected in (("cell", path.stem), ("model", model)):
            if name not in names or not expected or _says_only(file, name, expected):
                continue
            column = file.read(columns=[name])[name]
            found = sorted({str(word) for word in pc.unique(column).to_pylist()} - {expected})
            if found:
                return f"is not its own: column {name!r} says {found[0]}"
    return ""


def _says_only(file: pq.ParquetFile, name: str, expected: str) -> bool:
    """Whether the statistics of a column tell that it has one word alone; no row is read."""
    place = [file.schema.column(i).path for i in range(len(file.schema))].index(name)
    for group in range(file.metadata.num_row_groups):
        seen = file.metadata.row_group(group).column(place).statistics
        if seen is None or not seen.has_min_max or {seen.min, seen.max} != {expected}:
            return False
    return True


def _content_flaw(path: Path, samples: Collection[str] | None) -> str:
    """What is wrong with a cell of a folder without checksums, as far as its content tells."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return "is damaged"
        elif path.suffix == ".parquet":
            return _rows_flaw(pq.read_table(path), samples)
    except (OSError, ValueError, zipfile.BadZipFile, pa.ArrowException) as error:
        return f"is damaged ({str(error).splitlines()[0][:80]})"
    return ""


def _rows_flaw(table: pa.Table, samples: Collection[str] | None) -> str:
    lacking = [name for name in _SLOT if name not in table.schema.names]
    if lacking:  # tables beside a cell, such as its boxes, have some of these columns
        beside = "arm" in table.schema.names
        return f"is not its own: it has no column {lacking[0]!r}" if beside else ""
    codes, words = [], []
    for name in _SLOT:
        column = table[name].combine_chunks()
        column = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        codes.append(column.indices.to_numpy(zero_copy_only=False).astype(np.int64))
        words.append(column.dictionary.to_pylist())
    mine = words[_SLOT.index("sample_id")]
    foreign = [] if samples is None else [word for word in mine if word not in samples]
    if foreign:
        return f"is not its own: the run has no sample {foreign[0]}"
    slot = np.zeros(table.num_rows, np.int64)
    for code, name in zip(codes, words, strict=True):
        slot = slot * max(len(name), 1) + code
    return "is damaged: it has a sample twice" if _distinct(slot) < len(slot) else ""


def _distinct(numbers: NDArray[np.int64]) -> int:
    """How many distinct numbers from 0 on there are; marking them is ten times as fast as sorting."""
    highest = int(numbers.max(initial=0))
    if highest > _MARKED:
        return len(np.unique(numbers))
    seen = np.zeros(highest + 1, bool)
    seen[numbers] = True
    return int(np.count_nonzero(seen))
