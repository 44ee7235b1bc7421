"""The columns that docs/report.md explains, and what the page's tables are called by."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "report.md").read_text()
_ROWS = [line.split("|")[1:3] for line in GUIDE.splitlines() if line.startswith("| `")]
HEADS = {name: head for cell, head in _ROWS for name in re.findall(r"`([^`]+)`", cell)}
_ALSO = GUIDE.partition("`bias.csv`")[2].partition("###")[0]
KNOWN = {*HEADS, *re.findall(r"`([^`]+)`", _ALSO)}
_ENDINGS = re.compile(r"_(lo|hi|p|share)$|, (plain|change)$")


def unexplained(tables: Path) -> set[str]:
    """Columns of the CSV files below a folder that docs/report.md does not name."""
    found: set[str] = set()
    for path in tables.rglob("*.csv"):
        if path.read_text().strip():
            found |= set(pd.read_csv(path, nrows=0).columns)
    names = {name.replace("masculine_feminine", "A_B") for name in found}
    names = {re.sub("_(masculine|feminine)(?=$|_at_point)", "_GROUP", name) for name in names}
    return {name for name in names if not {name, _ENDINGS.sub("", name)} & KNOWN}


class Heads(HTMLParser):
    """Heads of the tables of a page, and the words of its glossary."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.heads: set[str] = set()
        self.terms: set[str] = set()
        self._into: set[str] | None = None
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "th" and ("scope", "col") in attrs:
            self._into = self.heads
        elif tag == "dt":
            self._into = self.terms

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into.add(data)

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def codes(self) -> set[str]:
        """Heads that are names of code and no word of the glossary."""
        return {head for head in self.heads if "_" in head} - self.terms
