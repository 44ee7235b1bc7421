"""Tables as CSV files: every value comes back as it was, whatever reads them; safe in a spreadsheet.

`cell_texts` has the rules for texts. Truth values are TRUE and FALSE, which pandas, R and DuckDB all know;
missing values are empty cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from vlbias.cell_texts import WORDS, all_look_typed, cell_text, text_of_cell

__all__ = ["csv_text", "read_table", "table_texts"]

_LONG = 1000  # readers judge longer columns by their first rows
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
    if not len(frame.columns):
        return "empty\n"
    shown = {_head(str(name)): _cells(str(name), column) for name, column in frame.items()}
    return str(pd.DataFrame(shown, columns=list(shown)).to_csv(index=False))


def _cells(name: str, column: pd.Series[Any]) -> pd.Series[Any]:
    if is_bool_dtype(column.dtype):
        return column.map({True: "TRUE", False: "FALSE"})
    if is_numeric_dtype(column.dtype):
        return column
    words = WORDS.get(name, {})
    is_typed = len(column) > _LONG or all_look_typed(column)

    def spelled(cell: Any) -> Any:
        if isinstance(cell, str):
            return cell_text(cell, words, is_typed=is_typed)
        return str(cell).upper() if isinstance(cell, bool | np.bool_) else cell

    return column.astype(object).map(spelled)


def read_table(path: Path | str) -> pd.DataFrame:
    """A table of a report as it was: types, apostrophes and empty cells.

    Args:
        path: A CSV file in `tables/RUN` of a report, with columns.json beside it.
    """
    path = Path(path)
    types = json.loads((path.parent / _COLUMNS).read_text(encoding="utf-8"))[path.stem]
    if not types:
        return pd.DataFrame()
    text = pd.read_csv(path, dtype=str, keep_default_na=False).rename(columns=_name)
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
    there = column.dropna()
    if len(there) < len(column) and len(there) and there.map(type).eq(bool).all():
        return "truth"
    is_plain = is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype)
    return str(column.dtype) if is_plain else "object"


def _typed(column: pd.Series[Any], dtype: str, empty: str | None) -> pd.Series[Any]:
    if dtype == "truth":
        return column.map({"TRUE": True, "FALSE": False, "": empty}).astype(object)
    if dtype == "object" or dtype.startswith("str"):
        words = WORDS.get(str(column.name), {})
        return column.map(lambda cell: text_of_cell(cell, words) if cell else empty).astype(dtype)
    if is_bool_dtype(dtype):
        return column.str.lower().eq("true")
    numbers = column.map(lambda cell: float(cell) if cell else float("nan")).astype(float)
    return column.astype(dtype) if dtype.startswith(("int", "uint")) else numbers.astype(dtype)


def _head(name: str) -> str:
    return f"'{name}" if _FORMULA.match(name) else name


def _name(head: str) -> str:
    return head[1:] if _WRITTEN.match(head) else head
