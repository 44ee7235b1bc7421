"""A frame as a table of the page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from vlbias.report.columns import headed
from vlbias.report.definitions import explained

__all__ = ["html", "with_limits"]


def html(frame: pd.DataFrame, caption: str = "", meanings: Mapping[str, str] | None = None) -> str:
    """The frame as an HTML table in the page's words, numbers in few digits; its first column names the rows.

    Args:
        frame: What is shown; an empty one gives a sentence.
        caption: What the table is called by those who do not see where it stands.
        meanings: Of its columns; see `vlbias.report.definitions.defined`.
    """
    if frame.empty:
        return "<p>None.</p>"
    said = _said(frame)
    table: str = said.set_index(said.columns[0]).to_html(
        border=0, na_rep="–", float_format=_number, justify="left", classes="numbers",
        index_names=False,
    )  # fmt: skip
    head, body, rows = table.partition("<tbody>")
    start, end, columns = head.partition(">")
    columns = columns.replace("<th></th>", f"<th>{escape(str(said.columns[0]))}</th>", 1)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    columns = columns.replace("<th>", '<th scope="col">')
    for head, meaning in explained(frame.columns, meanings):
        plain = f'<th scope="col">{escape(head)}</th>'
        told = f'<th scope="col" title="{escape(meaning)}">{escape(head)}</th>'
        columns = columns.replace(plain, told, 1)
    return start + end + named + columns + body + rows.replace("<th>", '<th scope="row">')


def _said(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with heads, quantities and truth values as the page calls them."""
    shown = frame.copy()
    for name in frame.columns:
        if name == "functional":
            shown[name] = frame[name].map(headed)
        elif frame[name].dtype == bool:
            shown[name] = frame[name].map({True: "yes", False: "no"})
    return shown.rename(columns=headed)


def _number(value: float) -> str:
    if value == 0:
        return "0"  # no minus before a zero
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.1e}"


def with_limits(row: pd.Series[Any]) -> str:
    """An estimate and its limits, signs written out."""
    if pd.isna(row["estimate"]):
        return "insufficient"
    # draws that all agree tell of too few clusters, and not of certainty
    told = np.isfinite([row["lo"], row["hi"]]).any() and row["lo"] != row["hi"]
    if pd.isna(row["lo"]) or not told:
        return f"{row['estimate']:+.3f}, without limits"
    return f"{row['estimate']:+.3f} [{row['lo']:+.3f}, {row['hi']:+.3f}]"
