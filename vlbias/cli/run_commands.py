"""The commands that run a study: run, with the other name mitigate, and resume."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from vlbias.cli.output import echo
from vlbias.cli.stopping import kept_cells, told
from vlbias.errors import BadOption, VlbiasError
from vlbias.progress import loading_quietly, watched

if TYPE_CHECKING:
    from vlbias.runs.runner import RunResult
    from vlbias.runs.study import StudyBase

__all__ = ["resume", "run"]

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for run folders; s3://… too.")]
WorkersOption = Annotated[int, typer.Option(help="Processes; 0: one per core for long CPU runs.")]
OnOption = Annotated[
    str,
    typer.Option(
        help="ray: a local Ray cluster, or that of RAY_ADDRESS; ray://host:port: another."
    ),
]
ScreenOption = Annotated[
    float | None,
    typer.Option(
        help="Language models: share of the heads or neurons to run, chosen by their gradient."
    ),
]
StudyArgument = Annotated[Path, typer.Argument(help="A study file (TOML).")]


def run(
    study: StudyArgument,
    out: OutOption = Path("runs"),
    shard: Annotated[str, typer.Option(help="i/n: this machine's part of the cells.")] = "0/1",
    limit: Annotated[
        int | None, typer.Option(help="Only so many photos or texts, chosen by the seed.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, run nothing.")
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="With --dry-run: open every photo, not a sample.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of the study's model; several, each in a run folder of its own."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the study's device.")] = None,
    screen: ScreenOption = None,
    workers: WorkersOption = 0,
    on: OnOption = "",
) -> None:
    """Run a study; killed at any moment, the same command goes on where it was."""
    from vlbias.studies.lifecycle import read_study

    def read(name: str | None) -> StudyBase:
        return read_study(study, limit=limit, model=name, device=device, screen=screen)

    models = list(dict.fromkeys(model or ()))
    if len(models) < 2:
        one = read(models[0] if models else None)
        _go(one, out, shard, workers, dry_run, on, thorough=thorough)
        return

    def go(one: StudyBase) -> None:
        _go(one, out, shard, workers, dry_run, on, thorough=thorough)

    _go_through(models, read, go, out)


def _go_through(
    models: Sequence[str],
    read: Callable[[str], StudyBase],
    go: Callable[[StudyBase], None],
    out: Path,
) -> None:
    """One run for each model, named after both; what fails is named, and stops none of the others."""
    done, failed = [], []
    for name in models:
        echo(f"{name}:")
        try:
            loaded = read(name)
            short = re.sub(
                r"[^A-Za-z0-9._-]+", "-", Path(name).name if Path(name).exists() else name
            )
            loaded = loaded.model_copy(update={"name": f"{loaded.name}-{short}"})
            go(loaded)
            done.append(out / loaded.name)
        except VlbiasError as error:
            echo(f"error: {error}", err=True)
            failed.append(name)
        except typer.Exit:  # cells of it failed, and were named
            failed.append(name)
    if done:
        from vlbias.runs.remote import named

        echo(f"next: vlbias report {' '.join(quote(named(one)) for one in done)}")
    if failed:
        echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def resume(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    shard: Annotated[str, typer.Option(help="i/n: this machine's part of the cells.")] = "0/1",
    workers: WorkersOption = 0,
    on: OnOption = "",
) -> None:
    """Compute the cells that a run folder still lacks."""
    from vlbias.runs.remote import address_of
    from vlbias.studies.lifecycle import study_of

    out = folder.parent if address_of(folder) else folder.resolve().parent
    _go(study_of(folder), out, shard, workers, dry_run=False, on=on)


def _go(
    study: StudyBase,
    out: Path,
    shard: str,
    workers: int,
    dry_run: bool,
    on: str = "",
    *,
    thorough: bool = False,
) -> None:
    from vlbias.studies.lifecycle import estimate, make_plan, open_files, run_plan

    part, lines, result = _parts(shard), list[str](), None
    kept = told(lambda: _kept(out / study.name, dry_run))
    with kept, loading_quietly(), watched() as (events, say):
        plan = make_plan(study, events.note)
        say(plan.funnel)
        if thorough:
            open_files(plan)
        if dry_run:
            lines = list(estimate(plan, events))
        else:
            result = run_plan(plan, out, shard=part, workers=workers, on=on, events=events)
    for line in lines:  # once the bar is gone: echo would write into its line
        echo(line)
    if result is not None:
        _finish(result)


def _kept(folder: Path, dry_run: bool) -> str:
    return "a dry run keeps nothing; run it again" if dry_run else kept_cells(folder)


def _parts(text: str) -> tuple[int, int]:
    index, _, parts = text.partition("/")
    if not (index.isdigit() and parts.isdigit()):
        raise BadOption("shard", text, "i/n, for example 0/4")
    return int(index), int(parts)


def _finish(result: RunResult) -> None:
    from vlbias.runs.remote import named

    folder = named(result.folder)
    for line in result.notes:
        echo(line)
    echo(f"{result.done} cells computed, {result.skipped} were there, in {folder}")
    if result.failed:
        echo(
            f"{len(result.failed)} cells failed; see {folder}/cells/*.error.json, then run again",
            err=True,
        )
        raise typer.Exit(1)
    echo(f"next: vlbias report {quote(folder)}")
