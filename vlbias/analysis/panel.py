"""Who was measured: images, groups, what resamples together, which objects are truly there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from vlbias.analysis.cluster_bags import Bags, make_bags
from vlbias.errors import BadTable

__all__ = ["Floats", "Panel", "PanelLayout"]

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class PanelLayout:
    """Canonical order of the rows, so that results do not depend on how a table was sharded.

    A cell is the part of one cluster that belongs to one group; sums are taken over cells first.

    Args:
        order: [S] row indices sorted by group, cluster, sample.
        starts: [M] first position of each cell in the sorted rows.
        spans: For each group the slice of its cells.
        cluster: [M] cluster code of each cell.
        n_clusters: Number of clusters.
    """

    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    spans: tuple[slice, ...]
    cluster: npt.NDArray[np.intp]
    n_clusters: int

    @property
    def is_flat(self) -> bool:
        """Whether every row is its own cell."""
        return len(self.starts) == len(self.order)

    @property
    def straddles(self) -> bool:
        """Whether some cluster has rows in more than one group."""
        return self.n_clusters < len(self.cluster)

    @cached_property
    def bags(self) -> Bags:
        """Clusters that are drawn together."""
        return make_bags(self.cluster, self.spans, self.n_clusters)

    def cells(self, rows: Floats) -> Floats:
        """Sums of sorted rows [S, ...] over cells [M, ...]."""
        return rows if self.is_flat else np.add.reduceat(rows, self.starts, axis=0)


@dataclass(frozen=True, eq=False)
class Panel:
    """Images with group, cluster and split, and the objects truly present in each.

    Args:
        sample: [S] unique ids.
        cluster: [S] what is resampled together, usually the image.
        group: [S] group labels, for example perceived gender.
        split: [S] split labels, for example "fit" and "test".
        targets: Names of the K objects.
        present: [S, K] bool, whether the object is in the image.
        groups: Order of the groups; a signed gap is the first minus the second. Sorted labels if
            not given.

    Raises:
        BadTable: if shapes disagree, ids repeat, or a row's group is not among `groups`.
    """

    sample: npt.NDArray[np.str_]
    cluster: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    targets: tuple[str, ...]
    present: npt.NDArray[np.bool_]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("sample", "cluster", "group", "split"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=str))
        object.__setattr__(self, "targets", tuple(self.targets))
        object.__setattr__(self, "present", np.asarray(self.present, dtype=bool))
        if not self.groups:
            object.__setattr__(self, "groups", tuple(map(str, np.unique(self.group))))
        self._check()

    def _check(self) -> None:
        rows = len(self.sample)
        for name in ("cluster", "group", "split"):
            if len(getattr(self, name)) != rows:
                found = len(getattr(self, name))
                raise BadTable(f"panel column {name!r} has {found} rows, 'sample' has {rows}")
        if self.present.shape != (rows, len(self.targets)):
            raise BadTable(
                f"present has shape {self.present.shape}, expected {(rows, len(self.targets))}: "
                "one row per sample, one column per target"
            )
        # sets of Python strings, since np.unique takes 20 times as long on them
        if len(set(self.sample.tolist())) != rows:
            raise BadTable("sample ids repeat; give one row per image")
        stray = sorted(set(self.group.tolist()) - set(self.groups))
        if stray:
            raise BadTable(f"groups {stray} are not among {self.groups}; take() the rows wanted")

    def __len__(self) -> int:
        return len(self.sample)

    @cached_property
    def code(self) -> npt.NDArray[np.intp]:
        """[S] position of each row's group in `groups`."""
        code = np.zeros(len(self), dtype=np.intp)
        for position, name in enumerate(self.groups):
            code[self.group == name] = position
        return code

    @cached_property
    def cluster_code(self) -> npt.NDArray[np.intp]:
        """[S] position of each row's cluster among the sorted cluster names."""
        return np.asarray(np.unique(self.cluster, return_inverse=True)[1], dtype=np.intp)

    @cached_property
    def layout(self) -> PanelLayout:
        """Canonical order and cells."""
        cluster = self.cluster_code
        n_clusters = int(cluster.max(initial=-1)) + 1
        order = np.lexsort((self.sample, cluster, self.code))
        key = self.code[order] * n_clusters + cluster[order]
        starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(self) else key
        group_of_cell = self.code[order][starts]
        edges = np.searchsorted(group_of_cell, np.arange(len(self.groups) + 1))
        spans = tuple(slice(int(a), int(b)) for a, b in pairwise(edges))
        return PanelLayout(order, starts, spans, cluster[order][starts], n_clusters)

    def index(
        self, *, split: str | None = None, groups: Sequence[str] | None = None
    ) -> npt.NDArray[np.intp]:
        """Row indices of one split and of the named groups."""
        keep = np.ones(len(self), dtype=bool)
        if split is not None:
            keep &= self.split == split
        if groups is not None:
            keep &= np.isin(self.group, list(groups))
        return np.flatnonzero(keep)

    def take(self, rows: npt.NDArray[np.intp], groups: Sequence[str] = ()) -> Panel:
        """The panel of some rows; slice score arrays with the same index."""
        return Panel(
            self.sample[rows],
            self.cluster[rows],
            self.group[rows],
            self.split[rows],
            self.targets,
            self.present[rows],
            tuple(groups) or self.groups,
        )

    def relabelled(self, group: npt.NDArray[np.str_]) -> Panel:
        """The same images under other group labels [S]."""
        return Panel(
            self.sample, self.cluster, group, self.split, self.targets, self.present, self.groups
        )

    def check_scores(self, name: str, scores: npt.ArrayLike) -> Floats:
        """Scores as a floating array [S, K].

        Raises:
            BadTable: if the shape is not [S, K]; names the array.
        """
        array = np.asarray(scores)
        if not np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float64)
        if array.shape != self.present.shape:
            raise BadTable(
                f"scores {name!r} have shape {array.shape}, expected {self.present.shape}: "
                "one row per sample, one column per target"
            )
        return array
