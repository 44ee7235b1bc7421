"""The command that lists what can be named in a study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from vlbias.cli.output import echo
from vlbias.errors import BadStudy
from vlbias.progress import loading_quietly

__all__ = ["list_"]


def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="kinds, claims, models, datasets, texts, outcomes, mitigations, prompts, mediators "
            "or triples."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            help="For mediators: a model name or folder. For triples: a study of a cohort."
        ),
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
                echo(f"{stage.name:42} whole stage")
        for port in outline.ports:
            pattern = f"{port.stage}/{port.name}" + (".*" if port.layers is not None else "")
            units = f", {_counted(port.units)} units: {pattern}[*]" if port.units else ""
            cut = ", cuts the tower" if port.cut else ""
            echo(f"{pattern:42} {port.layers or 1} layers{units}{cut}")
        return
    if what == "claims":
        from vlbias.studies import claims_document

        echo(claims_document().removesuffix("\n"))
        return
    if what == "triples":
        _triples(model)
        return
    for name, about in _listed(what):
        echo(f"{name:22} {about}")


def _triples(study: str | None) -> None:
    """Every triple of a study: what it is adjusted for, or why it is not testable."""
    from pathlib import Path

    if study is None:
        raise BadStudy(
            "study", None, "a study file after 'triples': vlbias list triples STUDY.toml"
        )
    from vlbias.studies.cohort.plan import make_plan
    from vlbias.studies.cohort.study import Study

    for question in make_plan(Study.load(Path(study))).questions:
        if question.why_not:
            echo(f"{question.triple}: {question.why_not}")
        else:
            echo(str(question.adjustment))


def _counted(units: int | tuple[int, ...]) -> str:
    return "/".join(map(str, dict.fromkeys(units))) if isinstance(units, tuple) else str(units)


def _listed(what: str) -> Iterator[tuple[str, str]]:
    if what == "prompts":
        from vlbias.data.prompts import PROMPTS

        yield from PROMPTS.items()
        return
    if what == "kinds":
        from vlbias.studies import KINDS

        yield from ((kind.name, kind.about) for kind in KINDS.values())
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

        known = [*registries, "kinds", "claims", "prompts", "mediators", "triples"]
        raise UnknownName("list", what, known)
    from importlib import import_module

    module, name = registries[what]
    registry = getattr(import_module(module), name)
    for entry in registry:
        yield entry, registry.entry(entry).about
