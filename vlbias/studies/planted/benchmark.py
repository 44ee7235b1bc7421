"""The benchmark of methods on planted models, as one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vlbias.files import write_texts
from vlbias.report.csv_files import csv_text
from vlbias.runs.events import QUIET, Events
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.planted.numbers import numbers
from vlbias.studies.planted.study import Study

__all__ = ["Benchmark", "benchmark_planted"]


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark found.

    Args:
        table: One row per model, seed, method and encoder: printed, change, share, named, right.
        summary: One row per method and plant.
        path: The table as CSV.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    path: Path


def benchmark_planted(
    out: Path,
    *,
    family: str = "dual",
    seeds: int = 5,
    photos: int = 1000,
    draws: int = 1000,
    events: Events = QUIET,
) -> Benchmark:
    """Score every method on the planted models of a family; the same call goes on after a kill.

    Args:
        out: A run folder `planted-<family>` is made here, with benchmark.csv and summary.csv in it.
        family: One of `plants.FAMILIES`.
        seeds: Sets of scenes for each model; four times as many for the unbiased one.
        photos: Scenes in a set; a fifth of them sets thresholds, four fifths are reported.
        draws: Resampling draws of the effects' tests.
        events: Who watches.

    Raises:
        UnknownName: if there is no such family.
        BadStudy: if seeds or photos are too few, or vlbias comes without a model of the family.
        BadTable: if a model could not be scored; its error file in `cells` says why.
        FolderInUse: if another process works on the same benchmark.
    """
    study = Study.parse(
        {
            "name": f"planted-{family}",
            "family": family,
            "seeds": seeds,
            "photos": photos,
            "draws": draws,
        }
    )
    plan = lifecycle.make_plan(study, events.note)
    run = Run(lifecycle.run_plan(plan, out, workers=0, events=events).folder)
    tables = numbers(run)
    frames = {"benchmark": tables.methods, "summary": tables.summary}
    write_texts({run.folder / f"{name}.csv": csv_text(frame) for name, frame in frames.items()})
    return Benchmark(tables.methods, tables.summary, run.folder / "benchmark.csv")
