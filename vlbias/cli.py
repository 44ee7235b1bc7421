"""The command line: every command is one public function call; here it is only printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlbias.cli_planted import benchmark, demo
from vlbias.cli_start import check, init
from vlbias.errors import BadStudy, VlbiasError
from vlbias.progress import loading_quietly, watched

if TYPE_CHECKING:
    from vlbias.runs.runner import RunResult

__all__ = ["app", "main"]

app = typer.Typer(
    help="Measure gender bias in vision-language models, find where it arises, and take it out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for run folders.")]
WorkersOption = Annotated[int, typer.Option(help="Processes; 0: one per core for long CPU runs.")]
ScreenOption = Annotated[float | None, typer.Option(help="Share of units to run, see README.")]
StudyArgument = Annotated[Path, typer.Argument(help="A study file (TOML).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="models, datasets, texts, outcomes, mitigations, prompts or mediators."
        ),
    ],
    model: Annotated[
        str | None, typer.Argument(help="For mediators: a model name or folder.")
    ] = None,
) -> None:
    """List what can be named in a study."""
    if what == "mediators":
        if model is None:
            raise BadStudy("model", None, "a model after 'mediators': vlbias list mediators MODEL")
        from vlbias.models import outline_model

        with loading_quietly():
            outline = outline_model(model)
        for tower in outline.towers:
            for stage in tower.stages:
                typer.echo(f"{stage.name:42} whole stage")
        for port in outline.ports:
            pattern = f"{port.stage}/{port.name}" + (".*" if port.layers is not None else "")
            units = f", {_counted(port.units)} units: {pattern}[*]" if port.units else ""
            cut = ", cuts the tower" if port.cut else ""
            typer.echo(f"{pattern:42} {port.layers or 1} layers{units}{cut}")
        return
    for name, about in _listed(what):
        typer.echo(f"{name:22} {about}")


def _counted(units: int | tuple[int, ...]) -> str:
    return "/".join(map(str, dict.fromkeys(units))) if isinstance(units, tuple) else str(units)


def _listed(what: str) -> Iterator[tuple[str, str]]:
    if what == "prompts":
        from vlbias.data.prompts import PROMPTS

        yield from PROMPTS.items()
        return
    registries = {
        "models": ("vlbias.models", "MODELS"),
        "datasets": ("vlbias.data", "DATASETS"),
        "texts": ("vlbias.data", "TEXTS"),
        "outcomes": ("vlbias.outcomes", "OUTCOMES"),
        "mitigations": ("vlbias.mitigations", "MITIGATIONS"),
    }
    if what not in registries:
        from vlbias.errors import UnknownName

        raise UnknownName("list", what, [*registries, "prompts", "mediators"])
    from importlib import import_module

    module, name = registries[what]
    registry = getattr(import_module(module), name)
    for entry in registry:
        yield entry, registry.entry(entry).about


@app.command()
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
    model: Annotated[str | None, typer.Option(help="Instead of the study's model.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the study's device.")] = None,
    screen: ScreenOption = None,
    workers: WorkersOption = 0,
) -> None:
    """Run a study; killed at any moment, the same command goes on where it was."""
    from vlbias import api

    loaded = api.read_study(study, limit=limit, model=model, device=device, screen=screen)
    _go(loaded, out, shard, workers, dry_run)


@app.command()
def mitigate(
    study: StudyArgument,
    out: OutOption = Path("runs"),
    limit: Annotated[
        int | None, typer.Option(help="Only so many photos, chosen by the seed.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, run nothing.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Instead of the study's model.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the study's device.")] = None,
    workers: WorkersOption = 0,
) -> None:
    """Fit, choose and judge the mitigations of a study; the same command goes on after a kill."""
    from vlbias import api

    loaded = api.read_study(study, limit=limit, model=model, device=device)
    if not api.is_of_mitigations(loaded):
        raise BadStudy(
            "mitigation", None, "a table [mitigation]; for other studies use `vlbias run`"
        )
    _go(loaded, out, "0/1", workers, dry_run)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    shard: Annotated[str, typer.Option(help="i/n: this machine's part of the cells.")] = "0/1",
    workers: WorkersOption = 0,
) -> None:
    """Compute the cells that a run folder still lacks."""
    from vlbias import api

    _go(api.study_of(folder), folder.resolve().parent, shard, workers, dry_run=False)


def _go(study: Any, out: Path, shard: str, workers: int, dry_run: bool) -> None:
    from vlbias import api

    job, part = api.job_of(study), {"shard": _parts(shard)}
    with loading_quietly(), watched() as (events, say):
        plan = job.plan(study, events.note)
        say(plan.funnel)
        lines = job.estimate(plan, events) if dry_run else ()
        options = part if job.can_shard else {}
        result = None if dry_run else job.run(plan, out, workers=workers, events=events, **options)
    for line in lines:  # once the bar is gone: echo would write into its line
        typer.echo(line)
    if result is not None:
        _finish(result)


def _parts(text: str) -> tuple[int, int]:
    index, _, parts = text.partition("/")
    if not (index.isdigit() and parts.isdigit()):
        raise BadStudy("shard", text, "i/n, for example 0/4")
    return int(index), int(parts)


def _finish(result: RunResult) -> None:
    typer.echo(f"{result.done} cells computed, {result.skipped} were there, in {result.folder}")
    if result.failed:
        where = result.folder / "cells"
        typer.echo(
            f"{len(result.failed)} cells failed; see {where}/*.error.json, then run again", err=True
        )
        raise typer.Exit(1)
    typer.echo(f"next: vlbias report {result.folder}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the page.")] = None,
    draws: Annotated[int, typer.Option(help="Resampling draws for intervals.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Show example photos, if their licence allows.")
    ] = False,
) -> None:
    """Write tables, figures and a page of one or more runs; needs no model."""
    from vlbias.report.page import report as write

    with watched() as (events, _):
        page = write(runs, out, draws=draws, seed=seed, with_images=with_images, note=events.note)
    typer.echo(page.summary)
    typer.echo(f"page: {page.html}\ntables: {page.tables}, {page.json}")
    typer.echo(f"for a model card: {page.card}")


app.command()(init)
app.command()(check)
app.command()(demo)
app.command()(benchmark)


@app.command()
def power(
    n: Annotated[
        int, typer.Option(help="Photos that are reported, without the split that sets thresholds.")
    ],
    objects: Annotated[int, typer.Option(help="Object classes.")] = 79,
    fpr: Annotated[float, typer.Option(help="False-positive rate at the operating point.")] = 0.02,
    ratio: Annotated[float, typer.Option(help="Share of the larger group.")] = 0.68,
    as_json: JsonOption = False,
) -> None:
    """Print the noise floor and the smallest detectable bias and change, before a run."""
    from vlbias.analysis.power import power as compute

    plan = compute(n, objects, fpr, ratio)
    if as_json:
        typer.echo(plan.frame().to_json(orient="records", indent=2))
        return
    typer.echo(f"{n} photos, {ratio:.0%} in the larger group, false-positive rate {fpr:g}")
    if plan.status != "ok":
        typer.echo(
            "insufficient: no object will have enough photos and false positives in both groups (50 without "
            "the object and 5 to expect in each); raise --n or --fpr"
        )
        return
    typer.echo(f"objects with support            {plan.objects_used} of {objects}")
    below = f"95 % of such runs below {plan.floor_q95:.3f}"
    typer.echo(f"floor of B with no bias at all  {plan.floor:.3f} ({below})")
    typer.echo(
        f"smallest detectable B           {plan.minimal_bias:.3f} in truth; the floor comes on top"
    )
    typer.echo(f"smallest detectable change      {plan.minimal_change:.3f} of B_lin, signs known")
    typer.echo(f"                                {plan.minimal_change_crossfit:.3f} of B_crossfit")
    typer.echo(
        f"(with {plan.power:.0%} power at a two-sided level of {plan.level:g}; objects independent)"
    )


def main() -> None:
    """Entry point: prints what a user can repair without a traceback, and exits 2."""
    try:
        app()
    except VlbiasError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
