"""A frame as a table of the page."""

from __future__ import annotations

import pandas as pd

__all__ = ["html"]


def html(frame: pd.DataFrame) -> str:
    """The frame as an HTML table, numbers in few digits."""
    if frame.empty:
        return "<p>None.</p>"
    table = frame.to_html(
        index=False, border=0, na_rep="–", float_format=_number, justify="left", classes="numbers"
    )
    return table.replace("<th>", '<th scope="col">')


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.1e}"
