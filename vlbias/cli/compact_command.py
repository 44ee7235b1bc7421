"""The command that merges the files of a run: compact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlbias.cli.output import echo
from vlbias.cli.stopping import told
from vlbias.progress import watched

__all__ = ["compact"]


def compact(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Merge the many files of a run's cells into few large ones, which are read faster."""
    from vlbias.runs.compaction import compact as merge

    with told(lambda: "all cells are kept; the same command goes on"), watched() as (events, _):
        found = merge(folder, events)
    if found.why_none:
        echo(f"{folder} stays as it is: {found.why_none}")
        return
    echo(f"{found.merged} cells merged; {found.cells} cells are in {found.files} large files")
