"""Frames as tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbias.progress import terminal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["print_frame"]


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """A frame under its title, numbers in three digits."""
    from pandas.api.types import is_numeric_dtype
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for name in frame.columns:
        is_number = is_numeric_dtype(frame[name])
        side = "right" if is_number else "left"
        table.add_column(str(name).replace("_", " "), justify=side, no_wrap=not is_number)
    for row in frame.itertuples(index=False):
        table.add_row(*map(_said, row))
    terminal().print(table)


def _said(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return str(value)
