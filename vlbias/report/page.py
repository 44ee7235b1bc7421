"""The page of one or more runs: one HTML file that opens from disk, and the same content as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

import jinja2

from vlbias.files import unwritable, write_texts
from vlbias.report.blocks import Block, Guidance, Section
from vlbias.report.csv_files import table_texts
from vlbias.report.drawing import numbered
from vlbias.report.export import card_text, frames, json_text
from vlbias.report.figure_files import write_figures
from vlbias.report.glance import stories
from vlbias.report.latex import latex_table
from vlbias.report.page_folder import names_of_tables
from vlbias.store.run_folder import Run
from vlbias.store.sessions import read_sessions

__all__ = ["Page", "Reported", "write_page"]

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """Where a report was written, and its headline.

    Args:
        html: The page.
        tables: Folder of CSV files, one folder per run in it.
        summary: The headline of every run in words.
        json: The words and tables of the page as one file.
        card: A block for a model card, with `model-index` as front matter.
        latex: The metrics of every run as a LaTeX table.
        figures: Files of figures, if they were asked for.
    """

    html: Path
    tables: Path
    summary: str
    json: Path
    card: Path
    latex: Path
    figures: Sequence[Path] = ()


@dataclass(frozen=True)
class Reported:
    """A run, its tables, and what the page says of it.

    Args:
        run: The run folder.
        tables: A dataclass of frames.
        section: Words, figures and tables of the page.
    """

    run: Run
    tables: Any
    section: Section

    @property
    def said(self) -> dict[str, Any]:
        """What the page says in words, and the run's provenance."""
        about = self.run.manifest
        return {
            "name": about["study"]["name"],
            "subject": self.section.subject or _model(about),
            "model": _model(about),
            "headline": self.section.headline,
            "readings": list(self.section.readings),
            "provenance": _provenance(self.run),
            "choices": about.get("paper_unknowns", {}),
        }


def write_page(
    target: Path,
    done: Sequence[Reported],
    comparison: Sequence[Block],
    draws: int,
    *,
    with_figures: bool = False,
) -> Page:
    """Write page, tables, JSON and model card of analysed runs, all whole.

    Args:
        target: A folder that `page_folder.make_folder` made.
        done: The runs, in order.
        comparison: Blocks that set them side by side.
        draws: Resampling draws of every interval and test.
        with_figures: Write figures/RUN/*.png and *.svg too.

    Raises:
        BadTable: if the disk is full, or the folder cannot be written; an old page stays as it was.
    """
    page, tables = target / "index.html", target / "tables"
    said = [(one.run, one.tables, one.section, one.said) for one in done]
    guidance = _together([one.section.guidance for one in done])
    texts = {
        page: _page_text(done, comparison, guidance, draws),
        target / "report.json": json_text(said),
        target / "model-card.md": card_text(said, guidance.limits),
        target / "headline.tex": latex_table([(one.run, one.section) for one in done]),
    }
    names = names_of_tables([one.run for one in done])
    for name, one in zip(names, done, strict=True):
        texts |= table_texts(tables / name, frames(one.tables))
    try:
        for name in names:
            (tables / name).mkdir(parents=True, exist_ok=True)
        write_texts(texts, seal=page)
        figures = _figures(target, names, done, comparison) if with_figures else []
    except OSError as error:
        raise unwritable(target, error) from error
    summary = "\n".join(f"{one.said['name']}: {one.said['headline']}" for one in done)
    json, card, latex = (target / name for name in ("report.json", "model-card.md", "headline.tex"))
    return Page(page, tables, summary, json, card, latex, figures)


def _figures(
    target: Path, names: Sequence[str], done: Sequence[Reported], comparison: Sequence[Block]
) -> list[Path]:
    written = write_figures(target / "figures" / "comparison", comparison)
    for name, one in zip(names, done, strict=True):
        blocks = [block for part in one.section.parts for block in part.blocks]
        written += write_figures(target / "figures" / name, blocks)
    return written


def _headings(done: Sequence[Reported]) -> list[str]:
    """Names of studies; of runs of one study, with their folders."""
    studies = [one.said["name"] for one in done]
    folders = names_of_tables([one.run for one in done])
    return [
        study if studies.count(study) == 1 else f"{study} in {folder}"
        for study, folder in zip(studies, folders, strict=True)
    ]


def _page_text(
    done: Sequence[Reported], comparison: Sequence[Block], guidance: Guidance, draws: int
) -> str:
    content = {
        "sections": [
            {**one.said, "name": name, "parts": one.section.parts}
            for name, one in zip(_headings(done), done, strict=True)
        ],
        "stories": stories([(one.run, one.section) for one in done], comparison),
        "comparison": comparison,
        "limits": guidance.limits,
        "wording": guidance.wording,
        "glossary": guidance.glossary,
        "draws": draws,
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlbias.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = count(1)
    environment.globals["numbered"] = lambda svg: numbered(svg, next(figures))
    return environment.get_template("page.html.j2").render(content)


def _together(every: Sequence[Guidance]) -> Guidance:
    return Guidance(
        _once(one.limits for one in every),
        _once(one.wording for one in every),
        _once(one.glossary for one in every),
    )


def _once(parts: Any) -> list[Any]:
    return list(dict.fromkeys(chain.from_iterable(parts)))


def _model(manifest: Mapping[str, Any]) -> str:
    if "model" not in manifest:
        return ""  # a kind that runs none
    return f"{manifest['model']['name']} ({manifest['model']['revision']})"


def _provenance(run: Run) -> dict[str, str]:
    manifest = run.manifest
    # version 0.1.0 noted them in the manifest
    sessions = [*manifest["sessions"], *read_sessions(run.folder)]
    return {
        "run": str(run.folder.name),
        "created": manifest["created"],
        "code": f"vlbias {manifest['packages']['vlbias']}, commit {manifest['commit'] or 'not known'}",
        "packages": ", ".join(f"{k} {v}" for k, v in manifest["packages"].items()),
        "data": manifest.get("data", {}).get("content_hash", "none"),
        "machine": ", ".join(manifest["machine"].values()),
        "time": _time(manifest["cells"], sessions),
        "seed": str(manifest["study"]["seed"]),
    }


def _time(cells: Sequence[str], sessions: Sequence[Mapping[str, Any]]) -> str:
    """How long the sessions took that ended by themselves, and how many cells came from others."""
    took, peak = ([one[name] for one in sessions] for name in ("seconds", "peak_memory_mib"))
    said = f"{sum(took):.0f} s in sessions that ended: {len(sessions)}, peak memory {max(peak, default=0)} MiB"
    others = len(cells) - sum(one["cells"] - one["failed"] for one in sessions)
    return f"{said}; {others} cells are from sessions that were stopped" if others > 0 else said
