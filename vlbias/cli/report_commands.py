"""The commands that need no model: report, power."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlbias.cli.output import echo
from vlbias.cli.stopping import told
from vlbias.progress import watched

__all__ = ["power", "report"]

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; s3://… too.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the page.")] = None,
    draws: Annotated[int, typer.Option(help="Resampling draws for intervals.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Show example photos, if their licence allows.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Write every figure as PNG and SVG too.")
    ] = False,
) -> None:
    """Write tables, figures and a page of one or more runs; needs no model."""
    from vlbias.runs.remote import named
    from vlbias.studies.reporting import report as write

    kept = told(
        lambda: "the runs are as they were, their page is not whole; run the same command again"
    )
    with kept, watched() as (events, _):
        page = write(
            runs, out, draws=draws, seed=seed, with_images=with_images, with_figures=figures,
            note=events.note,
        )  # fmt: skip
    echo(page.summary)
    echo(f"page: {named(page.html)}\ntables: {named(page.tables)}, {named(page.json)}")
    echo(f"for a model card: {named(page.card)}\nfor a paper: {named(page.latex)}")
    if page.figures:
        echo(f"figures: {len(page.figures)} files in {named(page.html.parent / 'figures')}")


def power(
    n: Annotated[
        int, typer.Option(help="Photos that are reported, without the split that sets thresholds.")
    ],
    objects: Annotated[int, typer.Option(help="Object classes.")] = 79,
    fpr: Annotated[float, typer.Option(help="False-positive rate at the operating point.")] = 0.02,
    ratio: Annotated[float, typer.Option(help="Share of the larger group.")] = 0.68,
    correlation: Annotated[
        float, typer.Option(help="Correlation of two objects' scores on the same photo.")
    ] = 0.45,
    pilot: Annotated[
        Path | None,
        typer.Option(
            help="A small run to take rates, ratio and correlations from, not the options."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the noise floor and the smallest detectable bias and change, before a run."""
    from vlbias.analysis.power import power as compute

    if pilot is None:
        plan = compute(n, objects, fpr, ratio, correlation=correlation)
    else:
        from vlbias.store.run_folder import Run
        from vlbias.studies.photos.pilot import plan_from

        plan = plan_from(Run(pilot), n)
    if as_json:
        echo(plan.frame().to_json(orient="records", indent=2))
        return
    source = f" (rates and correlations of {pilot})" if pilot else ""
    echo(
        f"{n} photos, {plan.ratio:.0%} in the larger group, false-positive rate {plan.fpr:.3g}{source}"
    )
    echo(
        f"objects of a photo correlate {plan.correlation:.2f}, design effect {plan.design_effect:.2f}"
    )
    if plan.status != "ok":
        echo(
            "insufficient: no object will have enough photos and false positives in both groups (50 without "
            "the object and 5 to expect in each); raise --n or --fpr"
        )
        return
    echo(f"objects with support            {plan.objects_used} of {plan.objects}")
    below = f"95 % of such runs below {plan.floor_q95:.3f}"
    echo(f"floor of B with no bias at all  {plan.floor:.3f} ({below})")
    echo(
        f"smallest detectable B           {plan.minimal_bias:.3f} in truth; the floor comes on top"
    )
    echo(f"smallest detectable change      {plan.minimal_change:.3f} of B_lin, signs known")
    echo(f"                                {plan.minimal_change_crossfit:.3f} of B_crossfit")
    echo(f"(with {plan.power:.0%} power at a two-sided level of {plan.level:g})")
