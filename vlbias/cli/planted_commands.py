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
        typer.Argument(help="planted: models that come with vlbias; cohort: simulated patients."),
    ],
    family: Annotated[str, typer.Option(help="Of planted models.")] = "dual",
    seeds: Annotated[
        int, typer.Option(help="Planted: sets of scenes; four times as many without bias.")
    ] = 5,
    photos: Annotated[int, typer.Option(help="Planted: scenes in a set.")] = 1000,
    worlds: Annotated[int, typer.Option(help="Cohort: worlds of 30 drugs each.")] = 1,
    patients: Annotated[int, typer.Option(help="Cohort: patients in a world.")] = 20_000,
    methods: Annotated[
        str | None, typer.Option(help="Cohort: names joined by commas; all if not given.")
    ] = None,
    out: OutOption = Path("runs"),
) -> None:
    """Score methods where the truth is known; the same command goes on after a kill."""
    if what == "cohort":
        _benchmark_cohort(out, worlds, patients, methods)
        return
    if what != "planted":
        raise UnknownName("benchmark", what, ["planted", "cohort"])
    from vlbias.studies.planted.benchmark import benchmark_planted

    with loading_quietly(), watched() as (events, _):
        found = benchmark_planted(out, family=family, seeds=seeds, photos=photos, events=events)
    _print(found.summary, f"Planted models, family {family}")
    typer.echo(
        "right: seeds in which the encoders named are those of the plant (none, where unbiased). "
        "printed: the number whose cause is asked for, mean over seeds. "
        "wrong share: of what both encoders change, what is put down to the wrong one; lo, hi: 95 % over seeds."
    )
    typer.echo(f"table: {found.path}")


def _benchmark_cohort(out: Path, worlds: int, patients: int, methods: str | None) -> None:
    from vlbias.studies.cohort.alternatives import METHODS
    from vlbias.studies.cohort.benchmark import benchmark_cohort

    chosen = [name.strip() for name in methods.split(",")] if methods else list(METHODS)
    with watched("world") as (events, _):
        found = benchmark_cohort(
            out, worlds=worlds, patients=patients, methods=chosen, events=events
        )
    shown = ["method", "found", "precision", "recall", "coverage", "null_below", "seconds"]
    _print(found.summary[shown], f"Simulated cohorts, {worlds} worlds of {patients} patients")
    typer.echo(
        "precision, recall: of the triples found, against the planted effects. coverage: of 95 % limits. "
        "null below: triples without effect with p < .05. Simulated: nothing follows for any real drug."
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
