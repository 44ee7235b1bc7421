"""Writing a run folder: the long table of potential outcomes, one file per cell.

A row is one number: Y of one sample, contrast, mediator, arm, outcome and target. Arms "00" and "11"
have an empty mediator. False positives and other indicators are made from scores when the table is
analysed, so that an operating point can be changed without the model.
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

from vlbias.files import whole

__all__ = ["SCHEMA", "SCHEMA_VERSION", "CellWriter", "cell_key"]

SCHEMA_VERSION = 1
_WORDS = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [(name, _WORDS) for name in ("cell", "sample_id", "cluster", "model", "mitigation")]
    + [(name, _WORDS) for name in ("contrast", "mediator", "arm", "outcome", "target")]
    + [("value", pa.float64()), ("weight", pa.float32()), ("status", _WORDS)]
)
_COMPRESSION = {
    "compression": "zstd",
    "use_dictionary": [field.name for field in SCHEMA if field.type == _WORDS],
    "use_byte_stream_split": ["value"],
}


def cell_key(determined_by: Mapping[str, Any]) -> str:
    """A short hash of everything that determines a cell's numbers, schema version included."""
    text = json.dumps({**determined_by, "schema": SCHEMA_VERSION}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


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
        self._batches: list[pa.Table] = []

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
        """
        n, k = value.shape
        ids, clusters = zip(*(self._samples[row] for row in rows), strict=True)
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
        self._batches.append(pa.table([columns[field.name] for field in SCHEMA], schema=SCHEMA))

    def close(self) -> int:
        """Write the file beside its place, then move it there; gives back the number of rows."""
        table = pa.concat_tables(self._batches).unify_dictionaries().combine_chunks()
        with whole(self.path) as temporary:
            pq.write_table(table, temporary, **_COMPRESSION)
        return int(table.num_rows)


def _repeated(words: Sequence[str], n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(words))


def _coded(words: Sequence[str], index: NDArray[np.integer[Any]]) -> pa.DictionaryArray:
    distinct = list(dict.fromkeys(words))
    place = {word: i for i, word in enumerate(distinct)}
    codes = np.array([place[word] for word in words], np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes[index]), pa.array(distinct, pa.string()))
