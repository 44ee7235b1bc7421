"""How a text is spelled in a CSV cell, so that no usual reader takes it for something else.

pandas, R and DuckDB, as they read by default, make numbers of "1e5", truth values of "TRUE", dates of
"2024-01-02" and nothing of "NA", "null" or an empty text; a spreadsheet computes "=SUM(A1)".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "EMPTY",
    "WORDS",
    "all_look_typed",
    "cell_text",
    "looks_typed",
    "misread",
    "text_of_cell",
]

WORDS = {
    "arm": {"null": "null world"},
    "world": {"null": "null world"},
    "mediator": {"": "whole model"},
}
"""Column to what its usual texts are called in an exported table."""

EMPTY = "(none)"
"""An empty text in all other columns; an empty cell is a missing value."""

_FORMULA = re.compile("[=+@\\-\t\r＝＋－＠]")
_MISSING = frozenset(
    (
        "na",
        "n/a",
        "#n/a",
        "#na",
        "<na>",
        "nan",
        "-nan",
        "null",
        "none",
        "nil",
        "#n/a_n/a",
        "1.#ind",
        "-1.#ind",
        "1.#qnan",
        "-1.#qnan",
    )
)
_RESERVED = {EMPTY} | {word for words in WORDS.values() for word in words.values()}
_TRUTH = {"true", "false", "t", "f", "yes", "no", "y", "n", "on", "off"}
_WORDS_OF_TRUTH = _TRUTH - {"true", "false"}
_WHOLE = re.compile("0|[1-9][0-9]{0,14}")
_NUMBER = re.compile(r"[+-]?(0x[0-9a-f.]+(p[+-]?\d+)?|[\d._]+([ed][+-]?\d+)?|inf|infinity)i?", re.I)
_TIME = re.compile(r"[\d\s:./,+-]+(T[\d:.+-]+)?Z?(\s*(am|pm|utc|gmt))?", re.I)


def looks_typed(text: str) -> bool:
    """Whether a column of such texts would be read as numbers, truth values, dates or times."""
    bare = text.strip().lstrip("'").strip()
    if bare.lower() in _TRUTH or _NUMBER.fullmatch(bare):
        return True
    return bool(_TIME.fullmatch(bare)) and any(letter.isdigit() for letter in bare)


def cell_text(text: str, words: dict[str, str], *, is_typed: bool) -> str:
    """What stands in the cell for a text.

    An apostrophe in front of what a reader would not give back; `text_of_cell` takes it off.

    Args:
        text: What is meant.
        words: Of `WORDS`, for its column.
        is_typed: Whether all texts of its column look like numbers, truth values or dates.
    """
    if text in words:
        return words[text]
    if not text:
        return EMPTY
    is_quoted = text.startswith("'") or is_typed
    return f"'{text}" if _is_taken(text) or (is_quoted and looks_typed(text)) else text


def text_of_cell(cell: str, words: dict[str, str]) -> str:
    """The text that `cell_text` wrote."""
    given = {shown: text for text, shown in words.items()} | {EMPTY: ""}
    if cell in given:
        return given[cell]
    is_marked = cell.startswith("'") and (_is_taken(cell[1:]) or looks_typed(cell[1:]))
    return cell[1:] if is_marked else cell


def misread(name: str) -> str:
    """What a reader of an exported table would take a name for; empty if for the name.

    Whole numbers stay what they are, and a column of one-letter names is rare.
    """
    if _FORMULA.match(name):
        return "a formula"
    if any(ord(letter) < 32 for letter in name) or name.startswith("'"):
        return "a quotation or several cells"
    if _is_taken(name) or not name:
        return "a missing value"
    if looks_typed(name) and name.lower() not in _WORDS_OF_TRUTH and not _WHOLE.fullmatch(name):
        return "a number, a truth value or a date"
    return ""


def all_look_typed(cells: Iterable[Any]) -> bool:
    """Whether a reader that looks at a column as a whole would not take its texts for texts."""
    texts = [cell for cell in cells if isinstance(cell, str) and cell]
    return bool(texts) and all(looks_typed(text) for text in texts)


def _is_taken(text: str) -> bool:
    bare = text.lstrip("'")
    return bool(
        _FORMULA.match(bare)
        or bare in _RESERVED
        or bare.strip().lower().replace(" ", "_") in _MISSING
        or (not bare.strip() and bare)
    )
