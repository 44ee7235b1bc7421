"""Tables as CSV files: safe to open in a spreadsheet, and read back as they were.

A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

__all__ = ["csv_text", "read_table", "table_texts"]

_FORMULA = re.compile("'*[=+@\\-\t\r＝＋－＠]")
_WRITTEN = re.compile("'+[=+@\\-\t\r＝＋－＠]")
_COLUMNS = "columns.json"


def table_texts(folder: Path, tables: Mapping[str, pd.DataFrame]) -> dict[Path, str]:
    """Path to text of each table as NAME.csv, and of columns.json, which `read_table` needs."""
    texts = {folder / f"{name}.csv": csv_text(frame) for name, frame in tables.items()}
    types = {name: _types(frame) for name, frame in tables.items()}
    # first, so that tables that are there always have it
    return {folder / _COLUMNS: json.dumps(types, indent=2, ensure_ascii=False), **texts}


def csv_text(frame: pd.DataFrame) -> str:
    """A table as text; one without columns gets the head "empty", so that every reader takes it."""
    shown = frame if len(frame.columns) else pd.DataFrame(columns=["empty"])
    shown = shown.rename(columns=_safe)
    for place, name in enumerate(list(shown.columns)):
        column = shown.iloc[:, place]
        if not is_numeric_dtype(column.dtype):
            shown = shown.assign(**{str(name): column.astype(object).map(_safe)})
    return str(shown.to_csv(index=False))


def read_table(path: Path | str) -> pd.DataFrame:
    """A table of a report as it was: types, apostrophes and empty cells.

    Args:
        path: A CSV file in `tables/RUN` of a report, with columns.json beside it.
    """
    path = Path(path)
    types = json.loads((path.parent / _COLUMNS).read_text(encoding="utf-8"))[path.stem]
    if not types:
        return pd.DataFrame()
    text = pd.read_csv(path, dtype=str, keep_default_na=False).rename(columns=_given)
    return pd.DataFrame({name: _typed(text[name], **kind) for name, kind in types.items()})


def _types(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {
        str(name): {
            "dtype": _dtype(column),
            "empty": None if column.isna().any() else "",
        }
        for name, column in frame.items()
    }


def _dtype(column: pd.Series[Any]) -> str:
    is_plain = is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype)
    return str(column.dtype) if is_plain else "object"


def _typed(column: pd.Series[Any], dtype: str, empty: str | None) -> pd.Series[Any]:
    if dtype == "object" or dtype.startswith("str"):
        return column.map(lambda cell: _given(cell) if cell else empty).astype(dtype)
    if is_bool_dtype(dtype):
        return column.eq("True")
    numbers = column.map(lambda cell: float(cell) if cell else float("nan")).astype(float)
    return column.astype(dtype) if dtype.startswith(("int", "uint")) else numbers.astype(dtype)


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _given(cell: str) -> str:
    return cell[1:] if _WRITTEN.match(cell) else cell
