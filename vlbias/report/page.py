"""The page of one or more runs: one HTML file that opens from disk, and the same content as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import jinja2

from vlbias.files import unwritable
from vlbias.report.blocks import Part, Section
from vlbias.report.drawing import numbered
from vlbias.report.funnel import are_given, data_blocks
from vlbias.report.publish import frames, write_card, write_json
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers.tables import Tables, numbers
from vlbias.studies.bias.page import presence_section
from vlbias.studies.language.numbers import OUTCOME, LanguageTables, language_numbers
from vlbias.studies.language.page import compared, language_section
from vlbias.studies.mitigation.numbers.tables import MitigationTables, mitigation_tables
from vlbias.studies.mitigation.page import mitigation_section
from vlbias.studies.photos.comparison import compared_runs
from vlbias.studies.photos.example_photos import example_photos
from vlbias.studies.photos.example_scenes import is_rendered, scenes_of
from vlbias.studies.photos.guidance import (
    GLOSSARY,
    PERCEIVED_WORDING,
    TEXT_GLOSSARY,
    TEXT_WORDING,
    WORDING,
)
from vlbias.studies.photos.words import (
    GIVEN_LIMIT,
    LIMITS,
    PERCEIVED_LIMIT,
    TEXT_LIMITS,
    lacking_in_words,
)

__all__ = ["Page", "report"]


@dataclass(frozen=True)
class Page:
    """Where a report was written, and its headline.

    Args:
        html: The page.
        tables: Folder of CSV files, one folder per run in it.
        summary: The headline of every run in words.
        json: The words and tables of the page as one file.
        card: A block for a model card, with `model-index` as front matter.
    """

    html: Path
    tables: Path
    summary: str
    json: Path
    card: Path


def report(
    runs: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    with_images: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Page:
    """Analyse finished runs and write their page and tables; needs no model.

    Args:
        runs: Run folders; several stand side by side on one page.
        out: Folder for the page; `report` in the first run folder if not given.
        draws: Resampling draws of every interval and test.
        seed: Of the draws.
        with_images: Show example photos whose licence allows it; see `vlbias.studies.photos.example_photos`. Rendered
            scenes are shown in any case.
        note: Told what is being done.

    Raises:
        BadTable: if a folder is no finished run, `out` cannot be written, or photos are asked for that
            the run did not have.
    """
    folders = [Path(runs)] if isinstance(runs, Path | str) else [Path(run) for run in runs]
    opened = [Run(folder) for folder in folders]
    target = folders[0] / "report" if out is None else Path(out)
    try:
        (target / "tables").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error
    options: dict[str, Any] = {"draws": draws, "seed": seed, "note": note}
    done = [_analysed(run, options, with_images=with_images) for run in opened]
    names = _distinct([run.folder.name for run in opened])
    for name, one in zip(names, done, strict=True):
        _write_tables(target / "tables" / name, one.tables)
    return _write(target, done, draws)


@dataclass(frozen=True)
class _Done:
    """A run, its tables, and what the page says of it."""

    run: Run
    tables: Tables | LanguageTables | MitigationTables
    section: Section

    @property
    def said(self) -> dict[str, Any]:
        """What the page says in words, and the run's provenance."""
        about = self.run.manifest
        return {
            "name": about["study"]["name"],
            "model": f"{about['model']['name']} ({about['model']['revision']})",
            "headline": self.section.headline,
            "readings": list(self.section.readings),
            "provenance": _provenance(self.run),
            "choices": about["paper_unknowns"],
        }


def _analysed(run: Run, options: dict[str, Any], *, with_images: bool) -> _Done:
    """The tables of a run and its section, by what kind of run it is."""
    tables: Tables | LanguageTables | MitigationTables
    if run.manifest.get("kind") == "mitigation":
        tables = mitigation_tables(run, **options)
        section = mitigation_section(run, tables)
    elif OUTCOME in run.manifest["study"]["outcomes"]:
        tables = language_numbers(run, **options)
        section = language_section(run, tables)
    else:
        tables = numbers(run, **options)
        section = presence_section(run, tables)
    options["note"](f"figures of {run.folder.name}")
    lacking = list(section.lacking) or lacking_in_words(run.statuses)
    further = [Part("The data and what was left out", list(data_blocks(run, lacking)))]
    if is_rendered(run):
        further.insert(0, Part("Example scenes", [scenes_of(run)]))
    elif with_images and isinstance(tables, Tables):
        further.insert(0, Part("Example photos", [example_photos(run)]))
    return _Done(run, tables, replace(section, parts=[*section.parts, *further]))


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where they repeat."""
    return [
        f"{name}-{names[:i].count(name) + 1}" if names[:i].count(name) else name
        for i, name in enumerate(names)
    ]


def _write_tables(folder: Path, tables: Tables | LanguageTables | MitigationTables) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames(tables).items():
        frame.to_csv(folder / f"{name}.csv", index=False)


def _write(target: Path, done: Sequence[_Done], draws: int) -> Page:
    of_texts = [(one.run, one.tables) for one in done if isinstance(one.tables, LanguageTables)]
    of_photos = [
        (one.run, one.tables) for one in done if not isinstance(one.tables, LanguageTables)
    ]
    given = {are_given(run) for run, _ in of_photos}
    limits = (
        *(TEXT_LIMITS if of_texts else ()),
        *((PERCEIVED_LIMIT,) if False in given else ()),
        *((GIVEN_LIMIT,) if True in given else ()),
        *(LIMITS if of_photos else ()),
    )
    said = [(one.run, one.tables, one.said) for one in done]
    content = {
        "sections": [{**one.said, "parts": one.section.parts} for one in done],
        "comparison": [*compared_runs(of_photos), *compared(of_texts)],
        "limits": limits,
        "wording": (
            *(PERCEIVED_WORDING if False in given else ()),
            *(WORDING if of_photos else ()),
            *(TEXT_WORDING if of_texts else ()),
        ),
        "glossary": (GLOSSARY if of_photos else ()) + (TEXT_GLOSSARY if of_texts else ()),
        "draws": draws,
    }
    template = files("vlbias.report").joinpath("templates", "page.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    figures = count(1)
    environment.globals["numbered"] = lambda svg: numbered(svg, next(figures))
    page = target / "index.html"
    page.write_text(environment.from_string(template).render(content), encoding="utf-8")
    write_json(target / "report.json", said)
    write_card(target / "model-card.md", said, limits)
    summary = "\n".join(f"{one['name']}: {one['headline']}" for _, _, one in said)
    return Page(page, target / "tables", summary, target / "report.json", target / "model-card.md")


def _provenance(run: Run) -> dict[str, str]:
    manifest = run.manifest
    return {
        "run": str(run.folder.name),
        "created": manifest["created"],
        "code": f"vlbias {manifest['packages']['vlbias']}, commit {manifest['commit'] or 'not known'}",
        "packages": ", ".join(f"{k} {v}" for k, v in manifest["packages"].items()),
        "data": manifest["data"]["content_hash"],
        "machine": ", ".join(manifest["machine"].values()),
        "time": _time(manifest),
        "seed": str(manifest["study"]["seed"]),
    }


def _time(manifest: Mapping[str, Any]) -> str:
    """How long the sessions took that ended by themselves, and how many cells came from others."""
    sessions = manifest["sessions"]
    took, peak = ([one[name] for one in sessions] for name in ("seconds", "peak_memory_mib"))
    said = f"{sum(took):.0f} s in sessions that ended: {len(sessions)}, peak memory {max(peak, default=0)} MiB"
    others = len(manifest["cells"]) - sum(one["cells"] - one["failed"] for one in sessions)
    return f"{said}; {others} cells are from sessions that were stopped" if others > 0 else said
