"""What values from files must be: the one place where they are checked, and how it is said.

A file's schema is a pydantic model or type made of the kinds below; `checked` names file, row and column.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from vlbias.errors import BadData

__all__ = [
    "Count",
    "FileRow",
    "Finite",
    "Name",
    "OptionalName",
    "Positive",
    "Text",
    "checked",
    "is_blank",
]

T = TypeVar("T")


def is_blank(value: Any) -> bool:
    """Whether a cell is empty: nothing, or only spaces. 0 and false are values."""
    return value is None or (isinstance(value, str) and not value.strip())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")
    if "\0" in value:
        raise ValueError("expected a text without NUL characters")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("expected a text without halves of characters")
    return value


def _name(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a text or a number")
    return _text(str(value) if isinstance(value, int | float) else value)


def _optional_name(value: Any) -> str | None:
    return None if is_blank(value) else _name(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")
    if not abs(value) < 1e300:
        raise ValueError("expected a finite number")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected a whole number")
    return value


def _positive(value: Any) -> int:
    number = _number(value)
    if number < 1 or number != int(number) or number > 2**31 - 1:
        raise ValueError("expected a whole number above 0")
    return int(number)


Text = Annotated[str, BeforeValidator(_text)]
"""A text, as it stands."""
Name = Annotated[str, BeforeValidator(_name)]
"""A text, or a number or truth value as text: ids, groups."""
OptionalName = Annotated[str | None, BeforeValidator(_optional_name)]
"""The same, or None where the cell is blank."""
Finite = Annotated[float, BeforeValidator(_number)]
"""A number that is neither text nor truth value, neither infinite nor NaN."""
Count = Annotated[int, BeforeValidator(_count)]
"""A whole number: ids of COCO."""
Positive = Annotated[int, BeforeValidator(_positive)]
"""A whole number above 0: a width."""


class FileRow(BaseModel):
    """A row of a file; columns that it does not name are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def checked(kind: type[T], value: Any, where: str) -> T:
    """A value from a file, once it is what its schema says.

    Args:
        kind: A pydantic model, a TypedDict, or another type.
        value: From the file.
        where: File and row, for the message.

    Raises:
        BadData: names file, row and column, what was found and what was expected.
    """
    try:
        found: T = _adapter(cast(Hashable, kind)).validate_python(value)
    except (ValidationError, RecursionError) as error:
        raise BadData(f"{where}: {_said(error)}") from error
    return found


def _said(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "lists within lists without end"
    first = error.errors(include_url=False, include_context=False)[0]
    place = ", ".join(
        repr(part) if isinstance(part, str) else f"item {part + 1}" for part in first["loc"]
    )
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{place} is missing"
    return f"{place or 'the value'}: got {_shown(first['input'])}, {said}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
