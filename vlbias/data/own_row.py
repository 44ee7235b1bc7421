"""What a row of your own table of photos must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from vlbias.data.nearest_person import PERSON
from vlbias.data.schema import FileRow, Finite, Name, OptionalName, Text, checked, is_blank
from vlbias.data.text_files import parse_json
from vlbias.errors import BadData

__all__ = ["OwnRow", "read_row"]

_LISTS = ("captions", "labels", "boxes")


def _class(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected the name of a class")
    return value.strip()


def _caption(value: Any) -> str | None:
    if is_blank(value):
        return None
    if not isinstance(value, str):
        raise ValueError("expected one text; a list of texts belongs into the column captions")
    if value.strip().startswith("[") and value.strip().endswith("]"):
        raise ValueError("expected one text; a JSON list belongs into the column captions")
    return value


def _list(value: Any) -> Any:
    if is_blank(value):
        return []
    if not isinstance(value, list):
        raise ValueError("expected a list")
    return value


def _box(value: Any) -> Any:
    if not isinstance(value, list) or len(value) not in (5, 6):
        raise ValueError(
            "expected [class, x0, y0, x1, y1], or with a sixth entry, a person's group"
        )
    if len(value) == 6 and value[0] != PERSON:
        raise ValueError(f"expected a group of class {PERSON!r} only")
    return [*value, None] if len(value) == 5 else value


_Class = Annotated[str, BeforeValidator(_class)]
_Box = Annotated[tuple[_Class, Finite, Finite, Finite, Finite, OptionalName], BeforeValidator(_box)]


class OwnRow(FileRow):
    """A row; see `vlbias.data.own_photos.read_own`."""

    id: OptionalName = None
    cluster: OptionalName = None
    image: Name
    text: Annotated[Text | None, BeforeValidator(_caption)] = None
    captions: Annotated[tuple[Text, ...], BeforeValidator(_list)] = ()
    labels: Annotated[tuple[_Class, ...], BeforeValidator(_list)] = ()
    group: OptionalName = None
    split: OptionalName = None
    boxes: Annotated[tuple[_Box, ...], BeforeValidator(_list)] = ()
    licence: OptionalName = None
    source: OptionalName = None
    width: Any = None
    height: Any = None


def read_row(values: Mapping[str, Any], where: str, classes: Sequence[str]) -> OwnRow:
    """The row of a record, lists in the form of text read as lists.

    Args:
        values: Columns and cells.
        where: File and row, for the message.
        classes: Classes that are known to be meant, where a name holds a comma.

    Raises:
        BadData: names file, row and column.
    """
    found = dict(values)
    for column in _LISTS:
        cell = found.get(column)
        if isinstance(cell, str) and cell.strip():
            place = f"{where}, {column}"
            found[column] = (
                _labels(cell, place, classes) if column == "labels" else parse_json(cell, place)
            )
    row = checked(OwnRow, found, where)
    return row.model_copy(update={"image": row.image.strip()})


def _labels(cell: str, where: str, classes: Sequence[str]) -> Any:
    """The classes of a cell: a JSON list, or names between semicolons."""
    if cell.strip().startswith("["):
        return parse_json(cell, where)
    names = [part.strip() for part in cell.split(";") if part.strip()]
    for name in names:
        if "," in name and name not in classes:
            raise BadData(
                f"{where}: {name!r} has a comma; separate classes by ';', or write a JSON list "
                '(["cup", "dog"]) where the comma belongs to a name'
            )
    return names
