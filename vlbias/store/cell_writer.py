"""Writing a run folder: the long table of potential outcomes, one file per cell.

A row is one number: Y of one sample, contrast, mediator, arm, outcome and target. Arms "00" and "11"
have an empty mediator. False positives and other indicators are made from scores when the table is
analysed, so that an operating point can be changed without the model.

Columns of the table:

    cell              key of the file that the row is in
    sample_id         the example; `samples.parquet` says more of it
    cluster           what is resampled together, such as the photo
    model, mitigation names; "none" where nothing is mitigated
    contrast          "base->other"
    mediator          what is exchanged between the two worlds; empty for arms "00" and "11"
    arm               world of the input, then of the mediator: "01" is the base input
                      with the mediator of the other world
    outcome, target   what was measured, and of which class or word
    value             Y; NaN where there is none
    weight            denominator; a rate is a sum of values over a sum of weights
    status            "ok", "misaligned", or why the example lacks a world or cannot be used
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable
from vlbias.files import whole
from vlbias.store.slab_index import SLAB, Piece, SlabKey, counted, footer

__all__ = [
    "COMPRESSION",
    "ROWS_PER_GROUP",
    "SCHEMA",
    "SCHEMA_VERSION",
    "WORDS",
    "CellWriter",
    "cell_key",
    "read_rows",
]

SCHEMA_VERSION = 1
"""Raise it if columns, or what they mean, change: it enters every key, and `Run` refuses other versions."""
WORDS = pa.dictionary(pa.int32(), pa.string())
"""Type of the columns that name things."""
SCHEMA = pa.schema(
    [(name, WORDS) for name in ("cell", "sample_id", "cluster", "model", "mitigation")]
    + [(name, WORDS) for name in ("contrast", "mediator", "arm", "outcome", "target")]
    + [("value", pa.float64()), ("weight", pa.float32()), ("status", WORDS)]
)
COMPRESSION = {
    "compression": "zstd",
    "use_dictionary": [field.name for field in SCHEMA if field.type == WORDS],
    "use_byte_stream_split": ["value"],
}
"""How tables are written."""
ROWS_PER_GROUP = 1 << 17
"""Rows that are read at least; a reader of one slab decodes few others."""


def cell_key(determined_by: Mapping[str, Any]) -> str:
    """A short hash of everything that determines a cell's numbers, schema version included."""
    text = json.dumps({**determined_by, "schema": SCHEMA_VERSION}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def read_rows(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of the long table in one file; numbers that are kept in single precision come in double."""
    table = pq.read_table(path, columns=columns)
    if "value" not in table.schema.names:
        return table
    place = table.schema.get_field_index("value")
    return table.set_column(place, "value", table["value"].cast(pa.float64()))


class CellWriter:
    """Collects the rows of one cell and writes them in one step.

    Args:
        folder: The run folder.
        key: The cell's key; the file's name.
        model: Value of the model column.
        mitigation: Value of the mitigation column.
        samples: Sample ids and clusters of the cell's examples, in the order of `add`'s rows.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        *,
        model: str,
        mitigation: str,
        samples: Sequence[tuple[str, str]],
    ) -> None:
        self.path = folder / "cells" / f"{key}.parquet"
        self._fixed = {"cell": key, "model": model, "mitigation": mitigation}
        self._samples = list(samples)
        self._batches: dict[SlabKey, list[pa.Table]] = {}
        self._layouts: dict[SlabKey, list[tuple[tuple[int, ...], tuple[str, ...]]]] = {}

    def add(
        self,
        names: Mapping[str, str],
        rows: Sequence[int],
        targets: Sequence[str],
        value: NDArray[np.floating[Any]],
        *,
        weight: NDArray[np.floating[Any]] | None = None,
        status: Sequence[str] | None = None,
    ) -> None:
        """Add values [rows, targets] of one contrast, mediator, arm and outcome.

        Args:
            names: Values of the columns contrast, mediator, arm and outcome.
            rows: Positions in `samples`.
            targets: Names of the targets.
            value: Numbers [rows, targets]; NaN where there is none.
            weight: Denominators [rows, targets]; one where not given.
            status: Per row; "ok" where not given.

        Raises:
            BadTable: if a number of a row that is "ok" is NaN or infinite; names the first.
        """
        n, k = value.shape
        ids, clusters = zip(*(self._samples[row] for row in rows), strict=True)
        fine = np.array([word == "ok" for word in status]) if status else np.ones(n, bool)
        _refuse_broken(names, ids, targets, np.where(fine[:, None], value, 0.0))
        columns: dict[str, pa.Array] = {
            name: _repeated([word], n * k) for name, word in {**self._fixed, **names}.items()
        }
        columns["sample_id"] = _coded(ids, np.repeat(np.arange(n), k))
        columns["cluster"] = _coded(clusters, np.repeat(np.arange(n), k))
        columns["target"] = _coded(targets, np.tile(np.arange(k), n))
        columns["value"] = pa.array(np.ascontiguousarray(value, dtype=np.float64).ravel())
        ones = np.ones((n, k), np.float32) if weight is None else weight
        columns["weight"] = pa.array(np.ascontiguousarray(ones, dtype=np.float32).ravel())
        columns["status"] = _coded(status or ["ok"] * n, np.repeat(np.arange(n), k))
        contrast, mediator, arm, outcome = (names[name] for name in SLAB)
        key = (contrast, mediator, arm, outcome)
        table = pa.table([columns[field.name] for field in SCHEMA], schema=SCHEMA)
        self._batches.setdefault(key, []).append(table)
        self._layouts.setdefault(key, []).append((tuple(rows), tuple(targets)))

    def close(self) -> int:
        """Write the file beside its place, then move it there; gives back the number of rows.

        The rows of a slab stand together, in the order in which slabs and rows were added.
        """
        every = [batch for batches in self._batches.values() for batch in batches]
        table = pa.concat_tables(every).unify_dictionaries().combine_chunks()
        table = table.replace_schema_metadata(footer(self._pieces(), counted(table)))
        with whole(self.path) as temporary:
            pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, **COMPRESSION)
        return int(table.num_rows)

    def _pieces(self) -> list[Piece]:
        known: dict[Any, int] = {}
        found, start = [], 0
        for key, batches in self._batches.items():
            rows = sum(batch.num_rows for batch in batches)
            layout = known.setdefault(tuple(self._layouts[key]), len(known))
            found.append(Piece(key, start, rows, layout))
            start += rows
        return found


def _refuse_broken(
    names: Mapping[str, str], ids: Sequence[str], targets: Sequence[str], value: NDArray[Any]
) -> None:
    broken = np.argwhere(~np.isfinite(value))
    if len(broken):
        row, column = broken[0]
        where = {**names, "sample": ids[row], "target": targets[column]}
        said = ", ".join(f"{name} {word!r}" for name, word in where.items() if word)
        raise BadTable(
            f"{len(broken)} of {value.size} numbers are not finite, {value[row, column]} of {said} first; "
            "look for broken weights, an input that holds NaN, or a precision that overflows"
        )


def _repeated(words: Sequence[str], n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(words))


def _coded(words: Sequence[str], index: NDArray[np.integer[Any]]) -> pa.DictionaryArray:
    distinct = list(dict.fromkeys(words))
    place = {word: i for i, word in enumerate(distinct)}
    codes = np.array([place[word] for word in words], np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes[index]), pa.array(distinct, pa.string()))
