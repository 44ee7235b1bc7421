"""Writing a large file of many cells: slab after slab, so that one slab of all of them is read at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlbias.files import whole
from vlbias.store.cell_writer import COMPRESSION, ROWS_PER_GROUP, SCHEMA
from vlbias.store.slab_index import Piece, SlabKey, footer, pieces_of, statuses_of

__all__ = ["merge_tables", "rows_held", "write_slabs"]


def rows_held(path: Path) -> tuple[int, int]:
    """How many rows a cell has, and how many of them are in memory while it is merged."""
    with pq.ParquetFile(path) as file:
        groups = range(file.metadata.num_row_groups)
        return file.metadata.num_rows, max(
            (file.metadata.row_group(i).num_rows for i in groups), default=0
        )


def merge_tables(paths: Sequence[Path], target: Path) -> None:
    """Write the rows of several cells as one file, sorted by slab, in the order of the cells.

    Args:
        paths: Files of cells.
        target: The large file.
    """
    cells = [_Cell(pq.ParquetFile(path)) for path in paths]
    order = list(dict.fromkeys(key for cell in cells for key in cell.pieces))
    layouts: dict[object, int] = {}
    pieces, start = [], 0
    for key in order:
        parts = [(i, piece) for i, cell in enumerate(cells) for piece in cell.pieces.get(key, ())]
        rows = sum(piece.rows for _, piece in parts)
        pieces.append(Piece(key, start, rows, _layout(parts, layouts)))
        start += rows
    statuses = pa.concat_tables([statuses_of(cell.file) for cell in cells])
    tables = (
        pa.concat_tables([table for cell in cells for table in cell.rows(key)]) for key in order
    )
    is_single = all(cell.is_single for cell in cells)
    try:
        write_slabs(target, pieces, statuses, tables, is_single=is_single)
    finally:
        for cell in cells:
            cell.file.close()


def write_slabs(
    target: Path,
    pieces: Sequence[Piece],
    statuses: pa.Table,
    tables: Iterator[pa.Table],
    *,
    is_single: bool,
) -> None:
    """Write a large file whole.

    Args:
        target: The file.
        pieces: Its slabs in order.
        statuses: Counts of them all; see `slab_index.statuses_of`. Equal rows are added up.
        tables: The rows of each slab, in the columns of the long table.
        is_single: Whether single precision holds all numbers, which halves the time to read them.
    """
    value = pa.field("value", pa.float32() if is_single else pa.float64())
    place = SCHEMA.get_field_index("value")
    schema = SCHEMA.set(place, value).with_metadata(footer(pieces, _added_up(statuses)))
    target.parent.mkdir(exist_ok=True)
    with whole(target) as temporary, pq.ParquetWriter(temporary, schema, **COMPRESSION) as writer:
        held: list[pa.Table] = []
        for table in tables:
            held.append(table)
            if sum(map(len, held)) >= ROWS_PER_GROUP:
                writer.write_table(_together(held, schema), row_group_size=1 << 24)
                held = []
        if held:
            writer.write_table(_together(held, schema), row_group_size=1 << 24)


@dataclass
class _Cell:
    """A cell that is gone through slab by slab; one row group of it is in memory."""

    file: pq.ParquetFile
    pieces: dict[SlabKey, list[Piece]] = field(default_factory=dict)
    _held: tuple[int, pa.Table | None] = (-1, None)

    def __post_init__(self) -> None:
        for piece in pieces_of(self.file):
            self.pieces.setdefault(piece.key, []).append(piece)
        footer = self.file.metadata
        self._ends = [0]
        for i in range(footer.num_row_groups):
            self._ends.append(self._ends[-1] + footer.row_group(i).num_rows)

    @property
    def is_single(self) -> bool:
        """Whether single precision holds its numbers."""
        value = self.file.read(columns=["value"])["value"].to_numpy()
        return bool(((value == value.astype("f4")) | (value != value)).all())

    def rows(self, key: SlabKey) -> Iterator[pa.Table]:
        """The rows of a slab, piece by piece."""
        for piece in self.pieces.get(key, ()):
            for number in range(len(self._ends) - 1):
                first, end = self._ends[number], self._ends[number + 1]
                begin, stop = max(piece.start, first), min(piece.start + piece.rows, end)
                if begin < stop:
                    yield self._group(number).slice(begin - first, stop - begin)

    def _group(self, number: int) -> pa.Table:
        held, table = self._held
        if held != number or table is None:
            table = self.file.read_row_group(number)
            self._held = (number, table)
        return table


def _layout(parts: Sequence[tuple[int, Piece]], known: dict[object, int]) -> int:
    """A number for the samples and targets of a slab; -1 where a cell does not tell them apart."""
    if any(piece.layout < 0 for _, piece in parts):
        return -1
    return known.setdefault(tuple((i, piece.layout) for i, piece in parts), len(known))


def _added_up(statuses: pa.Table) -> pa.Table:
    """Equal rows added up, in the order in which they come first."""
    count: Counter[tuple[str, str, str]] = Counter()
    for contrast, mediator, status, rows in zip(*statuses.to_pydict().values(), strict=True):
        count[contrast, mediator, status] += rows
    columns = [*map(pa.array, zip(*count, strict=True)), pa.array(count.values())]
    return pa.table(columns, names=statuses.column_names)


def _together(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables(tables).cast(schema).unify_dictionaries().combine_chunks()
