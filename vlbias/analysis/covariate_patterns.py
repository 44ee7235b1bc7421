"""Covariate patterns: the distinct rows of a table with how often each occurs.

Regressions and means over 0/1 columns are the same on patterns as on patients, and much faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Patterns", "collapse"]

Floats = NDArray[np.float64]
_MOST_BITS = 62


@dataclass(frozen=True)
class Patterns:
    """Distinct rows.

    Args:
        columns: Name to values [U].
        weight: How many units have each row, [U].
        cluster: Number of each row's cluster, [U]; None if units are independent.
    """

    columns: Mapping[str, Floats]
    weight: Floats
    cluster: NDArray[np.int64] | None = None

    @property
    def n(self) -> float:
        """How many units there are."""
        return float(self.weight.sum())

    def __len__(self) -> int:
        return len(self.weight)

    def project(self, names: Sequence[str]) -> tuple[Patterns, NDArray[np.int64]]:
        """The distinct rows of some columns, and the one that each row here has, [U]."""
        codes = _codes([self.columns[name] for name in names], len(self))
        if codes is None:
            kept = {name: self.columns[name] for name in names}
            return Patterns(kept, self.weight), np.arange(len(self))
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        weight = np.asarray(np.bincount(inverse, self.weight, len(first)), dtype=np.float64)
        return Patterns({name: self.columns[name][first] for name in names}, weight), inverse


def collapse(
    columns: Mapping[str, NDArray[np.generic]], cluster: NDArray[np.int64] | None = None
) -> Patterns:
    """The distinct rows of a table.

    Args:
        columns: Name to numbers [n]. Where one is not 0/1, or there are more than 62 of them, every row
            stays as it is.
        cluster: Number from 0 of each row's cluster, [n]; rows of two clusters stay apart.
    """
    values = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    n = len(next(iter(values.values())))
    codes = _codes(list(values.values()), n)
    if codes is None:
        return Patterns(values, np.ones(n), cluster)
    if cluster is not None:
        codes = np.unique(codes, return_inverse=True)[1] * (int(cluster.max(initial=0)) + 1)
        codes = codes + cluster
    _, first, count = np.unique(codes, return_index=True, return_counts=True)
    kept = {name: column[first] for name, column in values.items()}
    return Patterns(
        kept, count.astype(np.float64), None if cluster is None else cluster[first].astype(np.int64)
    )


def _codes(columns: Sequence[Floats], n: int) -> NDArray[np.int64] | None:
    """One number for each distinct row, [n]; None if the columns are too many or not 0/1."""
    if len(columns) > _MOST_BITS:
        return None
    codes = np.zeros(n, np.int64)
    for place, column in enumerate(columns):
        bits = column.astype(np.int64)
        if not ((bits == column) & ((bits == 0) | (bits == 1))).all():
            return None
        codes |= bits << place
    return codes
