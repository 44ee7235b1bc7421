"""The folder of a page: which files of it are ours, so that nothing of somebody else is overwritten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlbias.errors import BadTable
from vlbias.files import unwritable
from vlbias.store.run_folder import Run

__all__ = ["make_folder", "names_of_tables"]

_OURS = {
    "index.html": re.compile(rb"<title>vlbias: "),
    "report.json": re.compile(rb'\A\{"runs": \['),
    "headline.tex": re.compile(rb"\A% (?:needs|no metric)"),
    "model-card.md": re.compile(rb"^## Bias$", re.MULTILINE),
}
"""File of a page to what its beginning holds if it is one of ours."""
_BEGINNING = 1 << 16


def names_of_tables(runs: Sequence[Run]) -> list[str]:
    """Names of the folders of tables: those of the runs, numbered where they repeat."""
    names = [run.folder.resolve().name for run in runs]
    return [
        f"{name}-{names[:i].count(name) + 1}" if names[:i].count(name) else name
        for i, name in enumerate(names)
    ]


def make_folder(target: Path, runs: Sequence[Run]) -> None:
    """Make the folder of a page of runs.

    Raises:
        BadTable: if it cannot be written, or holds files under the names of a page that vlbias did not write.
    """
    try:
        foreign = list(_foreign(target, names_of_tables(runs)))
        if foreign:
            raise BadTable(
                f"{', '.join(map(str, foreign))}: no page of vlbias, and it would be overwritten; choose "
                "another folder with -o"
            )
        (target / "tables").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error


def _foreign(target: Path, names: Sequence[str]) -> Iterator[Path]:
    """What is there under a name of ours and is not ours."""
    for name, ours in _OURS.items():
        path = target / name
        if path.exists() and not ours.search(_beginning(path)):
            yield path
    if (target / "index.html").exists():  # tables of version 0.1.0 have no list of columns
        return
    for folder in (target / "tables" / name for name in names):
        if any(folder.glob("*.csv")) and not (folder / "columns.json").is_file():
            yield folder


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BEGINNING)
