"""A cohort: which patient has which code, held sparse, with dates where there are any."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vlbias.data.graph import CausalGraph
from vlbias.errors import UnknownName

__all__ = ["Cohort", "ObservationMap"]

Rows = NDArray[np.int64]
_KEPT_BYTES = 2**29
"""Dense columns that are kept for the next triple."""


@dataclass(frozen=True)
class Cohort:
    """Patients and their codes.

    Args:
        patients: Their ids, in the order of all rows.
        codes: Names of the columns of `matrix`.
        matrix: [patients, codes], compressed by column; a stored number is 1, or the day of the first event
            counted from `first_day` + 1.
        numbers: Columns that are not 0/1, dense.
        missing: Column to the rows without a value; what is absent from an event table is 0, not missing.
        dated: Whether `matrix` holds days.
        first_day: The day (since 1970-01-01) that is stored as 1.
        clusters: Number from 0 of each patient's cluster; None if patients are independent.
        files: Name to hash of the files that were read.
    """

    patients: NDArray[np.object_]
    codes: tuple[str, ...]
    matrix: sparse.csc_array
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    missing: Mapping[str, Rows] = field(default_factory=dict)
    dated: bool = False
    first_day: int = 0
    clusters: NDArray[np.int64] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def columns(self) -> frozenset[str]:
        """Every column, 0/1 or not."""
        return frozenset(self.codes) | frozenset(self.numbers)


class ObservationMap:
    """The map f of a causal knowledge graph: from a code to the patients who have it.

    A patient with a code has every broader code (is-a), so that f(narrow) ⊆ f(broad).

    Args:
        cohort: The cohort.
        graph: The graph; without one, every code stands for itself.
    """

    def __init__(self, cohort: Cohort, graph: CausalGraph | None = None) -> None:
        self.cohort, self.graph = cohort, graph
        self._place = {code: place for place, code in enumerate(cohort.codes)}
        self._dense: OrderedDict[str, NDArray[np.float64]] = OrderedDict()
        broad = frozenset[str]()
        if graph is not None:
            broad = frozenset().union(*(graph.broader(code) for code in cohort.codes))
        self.observed = cohort.columns | broad
        """Codes that the cohort has, directly or through a narrower one."""

    def members(self, code: str) -> list[str]:
        """The columns whose patients have a code.

        Raises:
            UnknownName: if neither it nor a narrower code is in the cohort.
        """
        below = self.graph.narrower(code) if self.graph is not None else frozenset()
        found = [one for one in (code, *sorted(below)) if one in self._place]
        if not found:
            raise UnknownName("code of the cohort", code, self.observed)
        return found

    def patients(self, code: str) -> Rows:
        """f(code): the rows of the patients who have a code, sorted."""
        return self.first_days(code)[0]

    def first_days(self, code: str) -> tuple[Rows, NDArray[np.int64]]:
        """The rows of the patients who have a code, and the stored day of the first such event (or 1)."""
        matrix, rows, days = self.cohort.matrix, [], []
        for member in self.members(code):
            start, stop = matrix.indptr[self._place[member] : self._place[member] + 2]
            rows.append(matrix.indices[start:stop])
            days.append(matrix.data[start:stop])
        joined, day = np.concatenate(rows).astype(np.int64), np.concatenate(days).astype(np.int64)
        order = np.lexsort((day, joined))
        joined, day = joined[order], day[order]
        first = np.ones(len(joined), bool)
        first[1:] = joined[1:] != joined[:-1]
        return joined[first], day[first]

    def values(self, code: str) -> NDArray[np.float64]:
        """The column of a code [patients]: 0 or 1, or its numbers; missing ones are NaN."""
        if code in self._dense:
            self._dense.move_to_end(code)
            return self._dense[code]
        if code in self.cohort.numbers:
            return self.cohort.numbers[code]
        column = np.zeros(len(self.cohort))
        for member in self.members(code):
            column[self.cohort.missing.get(member, np.zeros(0, np.int64))] = np.nan
        column[self.patients(code)] = 1.0
        self._dense[code] = column
        if len(self._dense) * column.nbytes > _KEPT_BYTES:
            self._dense.popitem(last=False)
        return column

    def counts(self, codes: Sequence[str]) -> dict[str, int]:
        """How many patients have each code; rows with a number, for columns that are not 0/1."""
        return {
            code: int(np.isfinite(self.cohort.numbers[code]).sum())
            if code in self.cohort.numbers
            else len(self.patients(code))
            for code in codes
        }
