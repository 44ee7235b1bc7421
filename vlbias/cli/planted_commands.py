"""The commands that need no photos: the demo, and the benchmark on planted models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlbias.errors import UnknownName
from vlbias.progress import loading_quietly, terminal, watched

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["benchmark", "demo"]

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")]


def demo(out: OutOption = Path("runs")) -> None:
    """Walk a small model with a planted bias through the whole job: measure, mediate, mitigate, report."""
    from vlbias.studies.planted.demo import demo as walk

    with loading_quietly(), watched() as (events, _):
        found = walk(out, events)
    _print(found.table, "Bias of every world")
    _print(found.mitigations, "Mitigations, each against its placebo")
    typer.echo(found.reading)
    typer.echo(f"page: {found.page.html}\nnext, {found.following}")


def benchmark(
    what: Annotated[
        str,
        typer.Argument(
            help="planted: models whose bias is known; symbolic: nets whose heads are known."
        ),
    ],
    family: Annotated[str, typer.Option(help="Family of models.")] = "dual",
    seeds: Annotated[
        int, typer.Option(help="Sets of scenes; four times as many without bias.")
    ] = 5,
    photos: Annotated[int, typer.Option(help="Scenes in a set.")] = 1000,
    out: OutOption = Path("runs"),
) -> None:
    """Score methods on models whose bias is known; the same command goes on after a kill."""
    if what == "symbolic":
        _benchmark_symbolic(out)
        return
    if what != "planted":
        raise UnknownName("benchmark", what, ["planted", "symbolic"])
    from vlbias.studies.planted.benchmark import benchmark_planted

    with loading_quietly(), watched() as (events, _):
        found = benchmark_planted(out, family=family, seeds=seeds, photos=photos, events=events)
    _print(found.summary, f"Planted models, family {family}")
    typer.echo(
        "right: seeds in which the encoders named are those of the plant (none, where unbiased). "
        "printed: the number whose cause is asked for, mean over seeds. "
        "wrong share: of what both encoders change, what is put down to the wrong one; lo, hi: 95 % over "
        "seeds."
    )
    typer.echo(f"table: {found.path}")


def _benchmark_symbolic(out: Path) -> None:
    from vlbias.studies.symbolic.benchmark import benchmark_symbolic

    with loading_quietly(), watched() as (events, _):
        found = benchmark_symbolic(out, events=events)
    _print(found.summary, "Nets of the identity-rule task")
    typer.echo(
        "right: types of heads, over nets, of which every head that carries it is named and no idle one. "
        "quiet: types that no head of a net carries, and none is named."
    )
    typer.echo(f"table: {found.path}")


def _print(frame: pd.DataFrame, title: str) -> None:
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
