"""Text files of data: the one place where they become text, lines, JSON values and rows.

A line ends at a newline and nowhere else: Unicode's other separators may stand inside a text.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from vlbias.errors import BadData

__all__ = [
    "Record",
    "files_read",
    "header_of",
    "lines_of",
    "parse_json",
    "read_json",
    "read_records",
    "read_text",
]

TABLES = (".csv", ".jsonl", ".ndjson")
_READ: ContextVar[dict[Path, str] | None] = ContextVar("files that were read", default=None)


class Record(NamedTuple):
    """A row of a table as it stands in its file.

    `number` counts rows of CSV without the header, and lines of JSONL.
    """

    number: int
    values: dict[str, Any]


def read_text(path: Path, advice: str = "check the path") -> str:
    """The text of a UTF-8 file, without the mark that some editors begin it with.

    Raises:
        BadData: if it is missing, no plain file, not UTF-8, or holds a NUL; says what to do.
    """
    try:
        if path.exists() and not path.is_file():
            raise BadData(f"{path} is no file: {advice}")
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadData(f"{path} not found; {advice}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8 ({error}); convert it") from error
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read ({error}); {advice}") from error
    if (found := _READ.get()) is not None:
        found[path] = hashlib.sha256(content).hexdigest()
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise BadData(f"{path} line {line} holds a NUL character; save it as plain UTF-8")
    return text


@contextmanager
def files_read() -> Iterator[dict[Path, str]]:
    """A context that collects every file that `read_text` reads, with a hash of its bytes."""
    found: dict[Path, str] = {}
    token = _READ.set(found)
    try:
        yield found
    finally:
        _READ.reset(token)


def lines_of(path: Path) -> list[str]:
    """The lines of a text file that hold anything.

    Raises:
        BadData: as `read_text`.
    """
    text = read_text(
        path,
        "give the folder with the published files, or no path for the small set that comes with the package",
    )
    return [line for line in text.split("\n") if line.strip()]


def read_json(path: Path, advice: str = "fetch it again") -> Any:
    """The value in a JSON file.

    Raises:
        BadData: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, advice), str(path))


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text; NaN is left to whoever reads that value.

    Raises:
        BadData: if it is no JSON, or an object has a key twice; `where` says of what.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        shown = f": {text!r}" if len(text) < 80 else ""
        raise BadData(f"{where} is no JSON{shown} ({error})") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"keys that repeat: {sorted({k for k in keys if keys.count(k) > 1})}")
    for key in found:
        key.encode()  # half of a surrogate pair is no text
    return found


def read_records(path: Path) -> list[Record]:
    """The rows of a CSV or JSONL file.

    Raises:
        BadData: if it is no such file, a column repeats, or a row is malformed; names file and row.
    """
    if path.suffix not in TABLES:
        raise BadData(f"{path}: expected a file ending in {', '.join(TABLES)}")
    text = read_text(path)
    if path.suffix == ".csv":
        return _csv(text, path)
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            values = parse_json(line, f"{path.name} line {number}")
            if not isinstance(values, dict):
                raise BadData(f"{path.name} line {number}: expected a JSON object")
            records.append(Record(number, values))
    return records


def _csv(text: str, path: Path) -> list[Record]:
    lines = [f"{line}\n" for line in text.split("\n")]
    reader = csv.reader(lines, strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise BadData(
            f"{path.name} line {reader.line_num}: {error}; a cell with quotes, commas or newlines stands in "
            'quotes, and its own quotes are doubled ("")'
        ) from error
    if not rows:
        return []
    head, *body = rows
    _refuse_repeated(head, path)
    broken = [number for number, row in enumerate(body, 1) if len(row) != len(head)]
    if broken:
        raise BadData(f"{path}: rows {broken[:10]} have more or fewer cells than the header")
    return [Record(n, dict(zip(head, row, strict=True))) for n, row in enumerate(body, 1)]


def _refuse_repeated(head: Sequence[str], path: Path) -> None:
    # columns without a name, such as the index that pandas writes, are not read and may repeat
    twice = sorted({name for name in head if name and head.count(name) > 1})
    if twice:
        raise BadData(
            f"{path}: columns that repeat: {', '.join(map(repr, twice))}; keep one of each"
        )


def header_of(path: Path) -> list[str]:
    """The columns of a CSV file, or the keys of the first line of a JSONL file.

    Raises:
        BadData: as `read_records`, for the first row.
    """
    text = read_text(path)
    if path.suffix == ".csv":
        try:
            return next(csv.reader([text.partition("\n")[0]], strict=True), [])
        except csv.Error as error:
            raise BadData(f"{path.name} line 1: {error}") from error
    first = next((line for line in text.split("\n") if line.strip()), "{}")
    row = parse_json(first, f"{path.name} line 1")
    return list(row) if isinstance(row, dict) else []
