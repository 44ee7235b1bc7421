"""What the scripts that run a study share: their options, the run, its page, tables as Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from vlbias.errors import VlbiasError
from vlbias.progress import loading_quietly, watched
from vlbias.report.columns import headed
from vlbias.report.csv_files import read_table
from vlbias.report.page import Page
from vlbias.studies import lifecycle
from vlbias.studies.reporting import report

__all__ = ["finished", "main_of", "markdown", "options", "table"]

HERE = Path(__file__).parent


def options(description: str | None, study: str) -> argparse.ArgumentParser:
    """The command line of a script, whose study is this file if none is given."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("study", type=Path, nargs="?", default=HERE / study)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--model", help="in place of the study's")
    parser.add_argument("--limit", type=int, help="only so many photos")
    parser.add_argument("--draws", type=int, default=2000, help="resamples of the page")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true")
    return parser


def finished(given: argparse.Namespace, suffix: str = "", **changes: Any) -> Page | None:
    """Runs the study, or goes on with it, and writes its page; None where only the time was asked for.

    Args:
        given: From `options`.
        suffix: Of the run's name, where fields are changed.
        **changes: Fields of the study.
    """
    study = lifecycle.read_study(given.study, model=given.model, limit=given.limit)
    if changes:
        changed = study.model_copy(update={**changes, "name": study.name + suffix})
        study = type(study).parse(changed.model_dump())
    with loading_quietly(), watched() as (events, _):
        plan = lifecycle.make_plan(study, events.note)
        if given.dry_run:
            print("\n".join(lifecycle.estimate(plan, events)))
            return None
        result = lifecycle.run_plan(plan, given.out, workers=given.workers, events=events)
        if result.failed:
            raise SystemExit(
                f"{len(result.failed)} cells failed; see {result.folder}/cells/*.error.json"
            )
        return report(result.folder, draws=given.draws, note=events.note)


def table(page: Page, name: str) -> pd.DataFrame:
    """A table of the run that the page is about."""
    (path,) = page.tables.glob(f"*/{name}.csv")
    return read_table(path)


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a Markdown table, numbers in three digits."""
    shown = frame.rename(columns=headed).map(
        lambda value: f"{value:.3f}" if isinstance(value, float) else str(value)
    )
    rows = [list(shown.columns), ["---"] * len(shown.columns), *shown.values.tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("nan", "–")


def main_of(main: Callable[[], None]) -> None:
    """Runs a script; what was wrong with its input is said without a traceback."""
    try:
        main()
    except VlbiasError as error:
        raise SystemExit(f"error: {error}") from None
