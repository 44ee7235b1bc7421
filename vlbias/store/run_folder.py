"""The run folder: the long table of potential outcomes, written once per cell and never appended to.

    run/
      manifest.json          what was run, with what, on which data
      samples.parquet        one row an example: id, cluster, group, split, attributes
      present.parquet        which targets are truly there, one row per sample and target
      cells/<key>.parquet    the table, schema below; a cell is there or it is not
      cells/<key>.error.json why a cell failed; removed when it succeeds

A row is one number: Y of one sample, contrast, mediator, arm, outcome and target. Arms "00" and "11"
have an empty mediator. False positives and other indicators are made from scores when the table is
analysed, so that an operating point can be changed without the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable, MissingArms, UnknownName
from vlbias.files import whole, write_json

__all__ = ["SCHEMA", "SCHEMA_VERSION", "CellWriter", "Run", "cell_key", "write_json"]

SCHEMA_VERSION = 1
_WORDS = pa.dictionary(pa.int32(), pa.string())
_KEYS = ("contrast", "mediator", "arm", "outcome", "sample_id", "target")
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


@dataclass(frozen=True)
class Run:
    """A run folder, read.

    Args:
        folder: Where it is.

    Raises:
        BadTable: if it is not a run folder, or one of another schema version.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / "manifest.json").is_file():
            raise BadTable(
                f"{self.folder} is no run folder: it has no manifest.json; give the folder that "
                "`vlbias run` named"
            )
        version = self.manifest.get("schema")
        if version != SCHEMA_VERSION:
            raise BadTable(
                f"{self.folder} has table schema {version}, this version reads {SCHEMA_VERSION}"
            )

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was run: study, versions, model revision, data hash, cells."""
        path = self.folder / "manifest.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise BadTable(f"{path} is no JSON ({error}); run the study again") from error
        return content

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row an example, in the order of all arrays: sample_id, cluster, group, split, and more."""
        frame: pd.DataFrame = pd.read_parquet(self.folder / "samples.parquet")
        return frame

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order of all arrays."""
        return tuple(self.manifest["targets"])

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Whether a target is truly there, [samples, targets]."""
        frame = pd.read_parquet(self.folder / "present.parquet")
        matrix = np.zeros((len(self.samples), len(self.targets)), dtype=bool)
        place = {sample: i for i, sample in enumerate(self.samples["sample_id"])}
        column = {target: i for i, target in enumerate(self.targets)}
        matrix[[place[s] for s in frame["sample_id"]], [column[t] for t in frame["target"]]] = True
        return matrix

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The cells that are there, in the order of the manifest."""
        paths = (self.folder / "cells" / f"{key}.parquet" for key in self.manifest["cells"])
        return tuple(path for path in paths if path.is_file())

    @property
    def missing(self) -> list[str]:
        """Keys of the cells that are not there yet."""
        there = {path.stem for path in self.files}
        return [key for key in self.manifest["cells"] if key not in there]

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The whole long table as a data frame; for small runs and for export."""
        tables = [pq.read_table(path, columns=columns) for path in self.files]
        frame: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
        return frame

    def slab(
        self, contrast: str, mediator: str, arm: str, outcome: str = "presence"
    ) -> NDArray[np.float32]:
        """Values [samples, targets] of one contrast, mediator, arm and outcome; NaN where skipped.

        Raises:
            UnknownName: if the run has no such contrast or mediator.
            MissingArms: if the arm is not in the table; says which cells to resume.
        """
        key = (contrast, mediator if arm in ("01", "10") else "", arm, outcome)
        if key in self._slabs:
            return self._slabs[key]
        contrasts, mediators = ({k[i] for k in self._slabs} for i in (0, 1))
        if contrast not in contrasts:
            raise UnknownName("contrast of this run", contrast, contrasts)
        if mediator not in mediators:
            raise UnknownName("mediator of this run", mediator, mediators)
        lacking = self.missing
        raise MissingArms(
            f"{self.folder}: no arm {arm} of {mediator!r} in {contrast!r}"
            + (f"; {len(lacking)} cells are missing: run `vlbias resume`" if lacking else "")
        )

    def mediators(self, contrast: str, outcome: str = "presence") -> list[str]:
        """Mediators that have both arms in a contrast, in the order they were run."""
        first, second = (
            [key[1] for key in self._slabs if key == (contrast, key[1], arm, outcome)]
            for arm in ("01", "10")
        )
        there = set(second)
        return [mediator for mediator in first if mediator in there]

    def arms(
        self, contrast: str, outcome: str = "presence"
    ) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
        """Mediator, Y01 and Y10 of a contrast, one mediator after the other."""
        for mediator in self.mediators(contrast, outcome):
            y01, y10 = (self.slab(contrast, mediator, arm, outcome) for arm in ("01", "10"))
            yield mediator, y01, y10

    @cached_property
    def statuses(self) -> pd.DataFrame:
        """How many rows of each contrast and mediator have which status."""
        counts = []
        for path in self.files:
            table = pq.read_table(path, columns=["contrast", "mediator", "status"])
            counts.append(
                table.group_by(["contrast", "mediator", "status"]).aggregate([([], "count_all")])
            )
        merged = pa.concat_tables(counts).unify_dictionaries().to_pandas()
        by = ["contrast", "mediator", "status"]
        total: pd.DataFrame = (
            merged.groupby(by, observed=True, sort=False)["count_all"].sum().reset_index()
        )
        return total

    @cached_property
    def _slabs(self) -> dict[tuple[str, str, str, str], NDArray[np.float32]]:
        """Dense slabs, filled file by file: the table is sorted by slab within a cell."""
        samples = {sample: i for i, sample in enumerate(self.samples["sample_id"])}
        targets = {target: i for i, target in enumerate(self.targets)}
        shape = (len(samples), len(targets))
        slabs: dict[tuple[str, str, str, str], NDArray[np.float32]] = {}
        for path in self.files:
            table = pq.read_table(path, columns=[*_KEYS, "value"])
            codes, words = zip(*(_decoded(table[name]) for name in _KEYS), strict=True)
            flat = (
                _mapped(words[4], samples)[codes[4]] * shape[1]
                + _mapped(words[5], targets)[codes[5]]
            )
            value = table["value"].to_numpy().astype(np.float32)
            change = np.flatnonzero(np.any([np.diff(code) != 0 for code in codes[:4]], axis=0)) + 1
            for start, stop in zip([0, *change], [*change, len(value)], strict=True):
                key = tuple(words[i][codes[i][start]] for i in range(4))
                if key not in slabs:
                    slabs[key] = np.full(shape, np.nan, np.float32)
                slabs[key].ravel()[flat[start:stop]] = value[start:stop]
        return slabs


def _decoded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    merged = column.combine_chunks()
    if isinstance(merged, pa.ChunkedArray):
        merged = pa.concat_arrays(merged.unify_dictionaries().chunks)
    if not pa.types.is_dictionary(merged.type):
        merged = pc.dictionary_encode(merged)
    return merged.indices.to_numpy(zero_copy_only=False), merged.dictionary.to_pylist()


def _mapped(words: Sequence[str], place: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([place[word] for word in words], np.int64)
