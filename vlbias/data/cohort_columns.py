"""Columns of a wide table, collected some thousand rows at a time: 0/1 columns sparse, others dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from vlbias.data.cohort import Cohort
from vlbias.errors import BadData

__all__ = ["SparseColumns"]


class SparseColumns:
    """Collects the columns of a wide table batch by batch.

    Args:
        names: Of the columns.
        where: The file, for messages.
    """

    def __init__(self, names: Sequence[str], where: str) -> None:
        self.names, self.where, self.rows = list(names), where, 0
        self._ones: dict[str, list[NDArray[np.int32]]] = {name: [] for name in names}
        self._missing: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
        self._dense: dict[str, list[NDArray[np.float64]]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take some more rows."""
        for name in self.names:
            column = batch.column(batch.schema.get_field_index(name))
            try:
                values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
            except pa.ArrowException as error:
                raise BadData(
                    f"{self.where}: column {name!r} holds {column.type}, expected numbers; 0 and 1 for a code"
                ) from error
            self._take(name, values)
        self.rows += batch.num_rows

    def _take(self, name: str, values: NDArray[np.float64]) -> None:
        absent = np.isnan(values)
        if absent.any():
            self._missing[name].append(np.flatnonzero(absent) + self.rows)
        if np.isinf(values).any():
            row = int(np.isinf(values).argmax()) + self.rows + 2
            raise BadData(f"{self.where}, row {row}: {name!r} is infinite")
        if name in self._dense:
            self._dense[name].append(values)
        elif ((values == 0) | (values == 1) | absent).all():
            ones = np.flatnonzero(values == 1) + self.rows
            self._ones[name].append(ones.astype(np.int32))
        else:
            self._dense[name] = [self._so_far(name), values]
            self._ones.pop(name)

    def _so_far(self, name: str) -> NDArray[np.float64]:
        column = np.zeros(self.rows)
        for ones in self._ones[name]:
            column[ones] = 1.0
        for absent in self._missing[name]:
            column[absent[absent < self.rows]] = np.nan
        return column

    def cohort(
        self,
        patients: NDArray[np.object_],
        clusters: NDArray[np.int64] | None,
        files: Mapping[str, str],
    ) -> Cohort:
        """The cohort of all rows."""
        codes = [name for name in self.names if name in self._ones]
        none = np.zeros(0, np.int32)
        rows = [np.concatenate([none, *self._ones.pop(name)]) for name in codes]
        starts = np.concatenate([[0], np.cumsum([len(one) for one in rows])])
        inside = np.concatenate([none, *rows])
        matrix = sparse.csc_array(
            (np.ones(len(inside), np.int8), inside, starts), shape=(len(patients), len(codes))
        )
        missing = {name: np.concatenate(found) for name, found in self._missing.items() if found}
        numbers = {name: np.concatenate(found) for name, found in self._dense.items()}
        return Cohort(
            patients, tuple(codes), matrix, numbers, missing, clusters=clusters, files=files
        )
