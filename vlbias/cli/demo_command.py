"""The command that needs no photos: the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlbias.cli.frames import print_frame
from vlbias.cli.output import echo
from vlbias.progress import loading_quietly, watched

__all__ = ["demo"]

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")]


def demo(out: OutOption = Path("runs")) -> None:
    """Walk a small model with a planted bias through the whole job: measure, mediate, mitigate, report."""
    from vlbias.studies.planted.demo import demo as walk

    with loading_quietly(), watched() as (events, _):
        found = walk(out, events)
    print_frame(found.table, "Bias of every world")
    print_frame(found.mitigations, "Mitigations, each against its placebo")
    echo(found.reading)
    echo(f"page: {found.page.html}\nnext, {found.following}")
