"""Slabs of a run, read when they are asked for, and a bounded number of them kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable
from vlbias.store.slab_index import Piece, SlabKey, codes_and_words, pieces_of

__all__ = ["Slabs"]

_KEPT = 1 << 30
"""Bytes of slabs that are kept."""
_FEW = 256
"""Of so many files the footers are kept, too."""

Slab = NDArray[np.float32]
_Places = slice | NDArray[np.int64]
"""Where the rows of a piece stand in a flat slab."""


class Slabs(Mapping[SlabKey, Slab]):
    """Contrast, mediator, arm and outcome to values [samples, targets], NaN where there are none.

    A slab that is not in memory is read together with those that follow it, so that a reader that goes through
    all of them reads each file a few times, and not once for every slab.

    Args:
        files: Files of the long table.
        samples: Sample to its row.
        targets: Target to its column.
        kept: Bytes of slabs that are kept in memory.
    """

    def __init__(
        self,
        files: Sequence[Path],
        samples: Mapping[str, int],
        targets: Mapping[str, int],
        kept: int = _KEPT,
    ) -> None:
        self._files, self._samples, self._targets = tuple(files), samples, targets
        self._shape = (len(samples), len(targets))
        self._room = max(2, kept // max(4 * len(samples) * len(targets), 1))
        self._slabs: OrderedDict[SlabKey, Slab] = OrderedDict()
        self._places: dict[tuple[int, int], _Places] = {}
        self._footers: dict[int, pq.FileMetaData] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[SlabKey]:
        return iter(self._index)

    def __contains__(self, key: object) -> bool:
        return key in self._index

    def __getitem__(self, key: SlabKey) -> Slab:
        if key not in self._slabs:
            self._read(self._from(key))
        self._slabs.move_to_end(key)
        return self._slabs[key]

    @cached_property
    def _index(self) -> dict[SlabKey, list[tuple[int, Piece]]]:
        found: dict[SlabKey, list[tuple[int, Piece]]] = {}
        for number in range(len(self._files)):
            with self._opened(number) as file:
                for piece in pieces_of(file):
                    found.setdefault(piece.key, []).append((number, piece))
        return found

    @cached_property
    def _order(self) -> list[SlabKey]:
        return list(self._index)

    def _from(self, key: SlabKey) -> list[SlabKey]:
        """The slab and those after it that are not in memory, as many as half of what is kept."""
        start = self._order.index(key)
        band = []
        for one in self._order[start : start + self._room // 2]:
            if one in self._slabs:
                break
            band.append(one)
        return band

    def _read(self, band: Sequence[SlabKey]) -> None:
        fresh = {key: np.full(self._shape, np.nan, np.float32) for key in band}
        by_file: dict[int, list[Piece]] = {}
        for key in band:
            for number, piece in self._index[key]:
                by_file.setdefault(number, []).append(piece)
        for number, pieces in by_file.items():
            with self._opened(number) as file:
                for run in _runs(sorted(pieces, key=lambda piece: piece.start)):
                    self._fill(number, file, run, fresh)
        while self._slabs and len(self._slabs) + len(fresh) > self._room:
            self._slabs.popitem(last=False)
        self._slabs.update(fresh)

    def _fill(
        self, number: int, file: pq.ParquetFile, run: Sequence[Piece], fresh: Mapping[SlabKey, Slab]
    ) -> None:
        """The values of pieces that stand one after another in a file."""
        is_known = all((number, piece.layout) in self._places for piece in run)
        names = ["value"] if is_known else ["value", "sample_id", "target"]
        groups, offset = _groups(file.metadata, run[0].start, run[-1].start + run[-1].rows)
        table = file.read_row_groups(groups, columns=names)
        value = table["value"].to_numpy()
        words = None if is_known else [codes_and_words(table[name]) for name in names[1:]]
        for piece in run:
            part = slice(piece.start - offset, piece.start - offset + piece.rows)
            places = self._places.get((number, piece.layout))
            if places is None and words is not None:
                (sample, samples), (target, targets) = words
                places = _contiguous(
                    _mapped(samples, self._samples)[sample[part]] * self._shape[1]
                    + _mapped(targets, self._targets)[target[part]]
                )
                if piece.layout >= 0:
                    self._places[number, piece.layout] = places
            fresh[piece.key].ravel()[places] = value[part]

    def _opened(self, number: int) -> pq.ParquetFile:
        path, footer = self._files[number], self._footers.get(number)
        file = pq.ParquetFile(path, metadata=footer, memory_map=True)
        if footer is None and len(self._files) <= _FEW:
            self._footers[number] = file.metadata
        return file


def _runs(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces that stand one directly after another, together."""
    run = [pieces[0]]
    for before, piece in pairwise(pieces):
        if piece.start != before.start + before.rows:
            yield run
            run = []
        run.append(piece)
    yield run


def _groups(footer: pq.FileMetaData, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold rows `start` to `stop`, and the first row of the first of them."""
    ends = np.cumsum([footer.row_group(i).num_rows for i in range(footer.num_row_groups)])
    first, last = (int(np.searchsorted(ends, row, side="right")) for row in (start, stop - 1))
    return list(range(first, last + 1)), int(ends[first - 1]) if first else 0


def _contiguous(places: NDArray[np.int64]) -> _Places:
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _mapped(words: Sequence[str], place: Mapping[str, int]) -> NDArray[np.int64]:
    unknown = [word for word in words if word not in place]
    if unknown:
        raise BadTable(
            f"a cell is damaged: it names {unknown[0]!r}, which the run has not; move it away and run "
            "`vlbias resume`"
        )
    return np.array([place[word] for word in words], np.int64)
