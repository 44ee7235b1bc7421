"""The commands to begin with: a study for what one has, and what is wrong with a study or a model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from vlbias.cli.output import echo
from vlbias.cli.stopping import told
from vlbias.errors import BadOption
from vlbias.progress import loading_quietly, printable, watched

__all__ = ["check", "init"]

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def init(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder of photos (COCO, PASCAL-Sentence, your own table), a set of texts, items (symbolic), "
            "a task (comprehension), a file of facts (tracing, unlearning, editing), or a folder with a cohort "
            "and its graph."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="A registered name, a hub name or a folder.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The study file.")] = Path("study.toml"),
    kind: Annotated[str, typer.Option(help="Kind of study: see vlbias list kinds.")] = "bias",
) -> None:
    """Write a commented study for your model and your photos or texts, or for your patients."""
    from vlbias.runs.study import ModelStudy
    from vlbias.studies import KINDS, kind_named

    start = kind_named(kind).start
    if start is None:
        able = ", ".join(name for name, one in KINDS.items() if one.start)
        raise BadOption("--kind", kind, f"a kind of study that can be begun with: {able}")
    if issubclass(kind_named(kind).study, ModelStudy) != (model is not None):
        wanted = "no model: none is run" if model else "a registered name, a hub name or a folder"
        raise BadOption("--model", model or "nothing", f"{wanted} (kind {kind!r})")
    with loading_quietly():
        begun = start(data, model, out)
    for remark in begun.remarks:
        echo(remark)
    echo(f"study: {begun.path}\nnext: vlbias check {quote(str(begun.path))}")


def check(
    what: Annotated[
        str, typer.Argument(help="A study (TOML), or a model: name, hub name, folder, GGUF file.")
    ],
    device: Annotated[str, typer.Option(help="Where the model runs.")] = "cpu",
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Open every photo of a study, not a sample.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say in words what is wrong with a study, or test that a model keeps the adapter contract."""
    with told(lambda: "a check keeps nothing; run the same command again"):
        failed = (
            _study(Path(what), as_json, thorough)
            if what.endswith(".toml")
            else _model(what, device, as_json)
        )
    if failed:
        raise typer.Exit(1)


def _study(path: Path, as_json: bool, thorough: bool) -> bool:
    from dataclasses import asdict

    from vlbias.studies.check_study import diagnose

    with loading_quietly():
        remarks = list(diagnose(path, thorough=thorough))
    if as_json:
        echo(json.dumps([asdict(remark) for remark in remarks], indent=2))
    for remark in () if as_json else remarks:
        echo(f"{remark.verdict:6} {remark.about}: {remark.text}")
    wrong = sum(remark.verdict == "wrong" for remark in remarks)
    if not as_json:
        echo(f"to repair: {wrong}" if wrong else f"next: vlbias run {quote(str(path))} --dry-run")
    return wrong > 0


def _model(model: str, device: str, as_json: bool) -> bool:
    import resource
    from dataclasses import asdict

    from vlbias.causal.conformance import Finding
    from vlbias.models.check_adapter import check as check_model
    from vlbias.runs.allocator import keep_memory

    began = time.monotonic()
    keep_memory()

    def tell(finding: Finding) -> None:
        if not as_json:
            found = "ok    " if finding.passed else "FAILED"
            # echo would write past the bar, into its line
            print(printable(f"{found} {finding.name}: {finding.detail}"), flush=True)

    with watched("step") as (events, _), loading_quietly():
        events.note("loading")
        findings = check_model(
            model, device=device, tell=tell, step=lambda done, total: events.cells(done, total, 0)
        )
    if as_json:
        echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    failed = sum(not finding.passed for finding in findings)
    if not as_json:
        echo(
            f"{failed} promises of the adapter are broken: effects of this model would be wrong"
            if failed
            else f"{model} can be used: replaced parts do what they should, and only that"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    echo(f"{time.monotonic() - began:.0f} s, peak memory {peak:.0f} MiB", err=as_json)
    return failed > 0
