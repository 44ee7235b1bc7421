"""Where in a file of the long table each slab is: its rows stand together, and the footer says where.

A slab is one contrast, mediator, arm and outcome, with all its samples and targets. Without the index a reader
would decode every row of a file to find those it wants.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable

__all__ = [
    "SLAB",
    "Piece",
    "SlabKey",
    "codes_and_words",
    "counted",
    "footer",
    "pieces_of",
    "statuses_of",
]

SLAB = ("contrast", "mediator", "arm", "outcome")
"""Columns that name a slab."""
SlabKey = tuple[str, str, str, str]
"""Values of `SLAB`."""
_FOOTER = b"vlbias"


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a slab that is in one file.

    Args:
        key: The slab.
        start: Its first row in the file.
        rows: How many it has.
        layout: Pieces of a file with the same number have the same samples and targets in the same
            order; -1 where that is not known.
    """

    key: SlabKey
    start: int
    rows: int
    layout: int = -1


def footer(pieces: Sequence[Piece], statuses: pa.Table) -> dict[bytes, bytes]:
    """What a file says of its rows: where each slab is, and how many rows have which status.

    Args:
        pieces: In the order of the rows, without gaps.
        statuses: Columns contrast, mediator, status, count_all; see `statuses_of`.
    """
    about = {
        "slabs": [[*piece.key, piece.rows, piece.layout] for piece in pieces],
        "statuses": [list(row.values()) for row in statuses.to_pylist()],
    }
    return {_FOOTER: json.dumps(about, separators=(",", ":")).encode()}


def pieces_of(file: pq.ParquetFile) -> list[Piece]:
    """Where each slab of a file is; those of version 0.1.0 say nothing, and their rows are looked at."""
    about = _about(file)
    if about is None:
        return _looked_up(file)
    found, start = [], 0
    for contrast, mediator, arm, outcome, rows, layout in about["slabs"]:
        found.append(Piece((contrast, mediator, arm, outcome), start, rows, layout))
        start += rows
    if start != file.metadata.num_rows:
        raise BadTable(
            f"a cell is damaged: its index has {start} rows, it has {file.metadata.num_rows}; move it away "
            "and run `vlbias resume`"
        )
    return found


def statuses_of(file: pq.ParquetFile) -> pa.Table:
    """How many rows of a file have which status, by contrast and mediator, in the order of the rows.

    A row that is "ok" and has no number counts as "no number".
    """
    about = _about(file)
    if about is None:
        return counted(file.read(columns=["contrast", "mediator", "status", "value"]))
    names = ("contrast", "mediator", "status", "count_all")
    columns = list(zip(*about["statuses"], strict=True)) or [()] * len(names)
    return pa.table([pa.array(column) for column in columns], names=list(names))


def counted(table: pa.Table) -> pa.Table:
    """See `statuses_of`; of a table in memory."""
    table = _without_numbers(table.select(["contrast", "mediator", "status", "value"]))
    by = ["contrast", "mediator", "status"]
    # threads would give the rows in another order each time
    found = table.group_by(by, use_threads=False).aggregate([([], "count_all")])
    words = [found[name].cast(pa.string()) for name in by]
    return pa.table([*words, found["count_all"]], names=[*by, "count_all"])


def codes_and_words(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """A column of words as positions in a list of the distinct ones."""
    merged = column.combine_chunks()
    if isinstance(merged, pa.ChunkedArray):
        merged = pa.concat_arrays(merged.unify_dictionaries().chunks)
    if not pa.types.is_dictionary(merged.type):
        merged = pc.dictionary_encode(merged)
    return merged.indices.to_numpy(zero_copy_only=False), merged.dictionary.to_pylist()


def _about(file: pq.ParquetFile) -> dict[str, Any] | None:
    text = (file.metadata.metadata or {}).get(_FOOTER)
    return None if text is None else json.loads(text)


def _looked_up(file: pq.ParquetFile) -> list[Piece]:
    table = file.read(columns=list(SLAB))
    codes, words = zip(*(codes_and_words(table[name]) for name in SLAB), strict=True)
    if not table.num_rows:
        return []
    change = np.flatnonzero(np.any([np.diff(code) != 0 for code in codes], axis=0)) + 1
    return [
        Piece(tuple(words[i][codes[i][start]] for i in range(4)), int(start), int(stop - start))
        for start, stop in zip([0, *change], [*change, table.num_rows], strict=True)
    ]


def _without_numbers(table: pa.Table) -> pa.Table:
    """The table with the status "no number" where a row is "ok" and its value is not finite."""
    status = table["status"].cast(pa.string())
    finite = pc.fill_null(pc.is_finite(table["value"]), False)
    if pc.all(pc.or_(finite, pc.not_equal(status, "ok"))).as_py():
        return table
    told = pc.if_else(pc.and_(pc.equal(status, "ok"), pc.invert(finite)), "no number", status)
    place = table.schema.get_field_index("status")
    return table.set_column(place, "status", told.dictionary_encode())
