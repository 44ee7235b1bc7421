"""Tables of annotated persons: rows with the place they stand in, numbers and boxes in a cell."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlbias.data.text_files import parse_json, read_records, read_text
from vlbias.errors import BadData

__all__ = ["box_of_text", "first_file", "number", "photo_root", "rows_of", "tab_rows", "value_in"]

Rows = list[tuple[str, dict[str, Any]]]
"""Where a row stands, for messages, and its cells."""


def first_file(path: Path, *names: str) -> Path:
    """The first of some files that is there; `path` itself if it is a file.

    Raises:
        BadData: if none is; names what was looked for.
    """
    if path.is_file():
        return path
    for name in names:
        found = sorted(path.glob(name))
        if found:
            return found[0]
    raise BadData(f"{path}: expected one of {', '.join(names)}")


def rows_of(path: Path, *names: str) -> Rows:
    """Rows of the first of some CSV files that is there.

    Raises:
        BadData: if none is there, it has no row, or is malformed.
    """
    file = first_file(path, *names)
    rows = [(f"{file.name} row {one.number}", dict(one.values)) for one in read_records(file)]
    if not rows:
        raise BadData(f"{file} has no rows")
    return rows


def tab_rows(path: Path, *names: str) -> Rows:
    """Rows of the first of some files with tabs between cells.

    Raises:
        BadData: if none is there, it has no row, or a row has other cells than the head.
    """
    file = first_file(path, *names)
    head, *body = list(csv.reader(read_text(file).splitlines(), delimiter="\t")) or [[]]
    broken = [number for number, row in enumerate(body, 1) if row and len(row) != len(head)]
    if broken or not body:
        raise BadData(
            f"{file}: rows {broken[:10] or 'none'}, expected {len(head)} cells as the head"
        )
    return [
        (f"{file.name} row {number}", dict(zip(head, row, strict=True)))
        for number, row in enumerate(body, 1)
        if row
    ]


def photo_root(path: Path, *names: str) -> Path:
    """The first folder of photos that is there, below the data set's folder.

    Raises:
        BadData: if none is.
    """
    folder = path.parent if path.is_file() else path
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise BadData(f"{folder}: no folder of photos; expected one of {', '.join(names)}")


def value_in(row: Mapping[str, Any], column: str, where: str, known: Mapping[str, str]) -> str:
    """A value as this project names it.

    Raises:
        BadData: if the column is missing, or the value is none that the data set has.
    """
    if column not in row:
        raise BadData(f"{where}: no column {column!r}; it has {', '.join(map(str, row))}")
    given = str(row[column]).strip()
    if given not in known:
        raise BadData(f"{where}, {column}: {given!r}, expected one of {', '.join(known)}")
    return known[given]


def number(row: Mapping[str, Any], column: str, where: str) -> float:
    """A number in a cell; an empty one is 0.

    Raises:
        BadData: if the column is missing, or holds no number of 0 or more.
    """
    if column not in row:
        raise BadData(f"{where}: no column {column!r}; it has {', '.join(map(str, row))}")
    text = str(row[column]).strip()
    try:
        found = float(text or 0)
    except ValueError as error:
        raise BadData(f"{where}, {column}: {text!r}, expected a number") from error
    if not 0 <= found < float("inf"):
        raise BadData(f"{where}, {column}: {text!r}, expected 0 or more")
    return found


def box_of_text(cell: Any, where: str) -> tuple[float, float, float, float]:
    """x, y, width and height of a box in a cell: a JSON object, or a list of four.

    Raises:
        BadData: if it is neither.
    """
    value = parse_json(str(cell).replace("'", '"'), f"{where}, box")
    if isinstance(value, dict):
        value = [value.get(key) for key in ("x", "y", "width", "height")]
    fine = isinstance(value, list) and len(value) == 4
    if not fine or not all(isinstance(one, int | float) for one in value):
        raise BadData(f"{where}: box {cell!r}, expected x, y, width and height in pixels")
    x, y, width, height = map(float, value)
    return x, y, width, height
