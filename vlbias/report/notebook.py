"""Results as a notebook shows them: a sentence, then tables, those behind the first folded."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import pandas as pd

from vlbias.report.tables import html

__all__ = ["shown_in_notebook"]

_MOST = 30
"""Rows of a table that are shown; the frame itself has all."""


def shown_in_notebook(sentence: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """HTML of a result for `_repr_html_`; without script or style of its own, so that it fits any theme.

    Args:
        sentence: What can be said.
        tables: Title to frame.
    """
    first, *others = tables.items()
    parts = [f"<p>{escape(sentence)}</p>", _table(*first)]
    parts += [
        f"<details><summary>{escape(title)} ({len(frame)})</summary>{_table(title, frame)}</details>"
        for title, frame in others
    ]
    return f"<div>{''.join(parts)}</div>"


def _table(title: str, frame: pd.DataFrame) -> str:
    left = len(frame) - _MOST
    more = f"<p>and {left} more rows</p>" if left > 0 else ""
    return html(frame.head(_MOST), title) + more
