"""Benchmarks: methods scored where the truth is known, a command for each kind that has one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlbias.cli.frames import print_frame
from vlbias.cli.output import echo
from vlbias.progress import loading_quietly, watched

__all__ = ["app"]

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")]

app = typer.Typer(
    help="Score methods where the truth is known; the same command goes on after a kill.",
    no_args_is_help=True,
)


@app.command()
def planted(
    family: Annotated[str, typer.Option(help="Of the models.")] = "dual",
    seeds: Annotated[
        int, typer.Option(help="Sets of scenes; four times as many without bias.")
    ] = 5,
    photos: Annotated[int, typer.Option(help="Scenes in a set.")] = 1000,
    out: OutOption = Path("runs"),
) -> None:
    """Models that come with vlbias, whose bias is planted in one encoder, both, or none."""
    from vlbias.studies.planted.benchmark import benchmark_planted

    with loading_quietly(), watched() as (events, _):
        found = benchmark_planted(out, family=family, seeds=seeds, photos=photos, events=events)
    print_frame(found.summary, f"Planted models, family {family}")
    echo(
        "right: seeds in which the encoders named are those of the plant (none, where unbiased). "
        "printed: the number whose cause is asked for, mean over seeds. "
        "wrong share: of what both encoders change, what is put down to the wrong one; lo, hi: 95 % over seeds."
    )
    echo(f"table: {found.path}")


@app.command()
def symbolic(out: OutOption = Path("runs")) -> None:
    """Small nets of the identity-rule task, whose heads are known."""
    from vlbias.studies.symbolic.benchmark import benchmark_symbolic

    with loading_quietly(), watched() as (events, _):
        found = benchmark_symbolic(out, events=events)
    print_frame(found.summary, "Nets of the identity-rule task")
    echo(
        "right: types of heads, over nets, of which every head that carries it is named and no idle one. "
        "quiet: types that no head of a net carries, and none is named."
    )
    echo(f"table: {found.path}")


@app.command()
def cohort(
    worlds: Annotated[int, typer.Option(help="Worlds of 30 drugs each.")] = 1,
    patients: Annotated[int, typer.Option(help="Patients in a world.")] = 20_000,
    methods: Annotated[
        str | None, typer.Option(help="Names joined by commas; all if not given.")
    ] = None,
    out: OutOption = Path("runs"),
) -> None:
    """Simulated patients, whose effects are planted."""
    from vlbias.studies.cohort.alternatives import METHODS
    from vlbias.studies.cohort.benchmark import benchmark_cohort

    chosen = [name.strip() for name in methods.split(",")] if methods else list(METHODS)
    with watched("world") as (events, _):
        found = benchmark_cohort(
            out, worlds=worlds, patients=patients, methods=chosen, events=events
        )
    shown = ["method", "found", "precision", "recall", "coverage", "null_below", "seconds"]
    print_frame(found.summary[shown], f"Simulated cohorts, {worlds} worlds of {patients} patients")
    echo(
        "precision, recall: of the triples found, against the planted effects. coverage: of 95 % limits. "
        "null below: triples without effect with p < .05. Simulated: nothing follows for any real drug."
    )
    echo(f"table: {found.path}")
