"""Methods on simulated cohorts whose effects are known: who finds what is there, and only that."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlbias.analysis.corrections import benjamini_hochberg
from vlbias.data.adjustment import adjustment_set
from vlbias.data.cohort import ObservationMap
from vlbias.data.cohort_files import cohort_of
from vlbias.data.simulated_cohort import CohortSpec, World, make_world, simulate
from vlbias.data.simulated_truth import true_effects
from vlbias.errors import BadOption, UnknownName
from vlbias.files import write_texts
from vlbias.report.csv_files import csv_text
from vlbias.runs.events import QUIET, Events
from vlbias.studies.cohort.alternatives import METHODS, Case

__all__ = ["CohortBenchmark", "answers_of_world", "benchmark_cohort", "scores"]

_LEVEL = 0.05
NULL_KINDS = ("null_unconfounded", "null_confounded")
"""Types of drugs without an effect of their own."""


@dataclass(frozen=True)
class CohortBenchmark:
    """What a benchmark found.

    Args:
        table: One row per world, triple and method.
        summary: One row a method; see `scores`.
        path: The table as CSV.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    path: Path


def benchmark_cohort(
    out: Path,
    *,
    worlds: int = 1,
    patients: int = 20_000,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
    events: Events = QUIET,
) -> CohortBenchmark:
    """Score methods on simulated worlds of 30 drugs each; worlds that are there are not computed again.

    Args:
        out: A folder `cohort-benchmark` is made here, with benchmark.csv and summary.csv in it.
        worlds: How many.
        patients: In each.
        methods: Names of `METHODS`.
        seed: Of the first world; the next has the next.
        events: Who watches.

    Raises:
        UnknownName: if there is no such method.
        BadOption: if there is no world, or there are too few patients.
    """
    for name in methods:
        if name not in METHODS:
            raise UnknownName("method", name, METHODS)
    if worlds < 1:
        raise BadOption("worlds", worlds, "1 or more")
    if patients < 1000:
        raise BadOption(
            "patients", patients, "1000 or more: with fewer, many codes have no patient"
        )
    folder = out / "cohort-benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for number in range(worlds):
        events.note(f"world {number + 1} of {worlds}")
        name = f"world-{seed + number}-{patients}-{'-'.join(methods).replace(' ', '_')}.csv"
        path = folder / name
        if not path.is_file():
            world = make_world(CohortSpec(seed + number))
            write_texts({path: csv_text(answers_of_world(world, patients, methods))})
        frames.append(pd.read_csv(path))
        events.cells(number + 1, worlds, patients)
    table = pd.concat(frames, ignore_index=True)
    summary = scores(table)
    write_texts(
        {folder / "benchmark.csv": csv_text(table), folder / "summary.csv": csv_text(summary)}
    )
    return CohortBenchmark(table, summary, folder / "benchmark.csv")


def answers_of_world(
    world: World,
    patients: int,
    methods: Sequence[str],
    *,
    wrong_graph: bool = False,
    truth_patients: int = 100_000,
) -> pd.DataFrame:
    """What methods say of every triple of a world, beside the truth.

    Args:
        world: The world.
        patients: How many are observed.
        methods: Names of `METHODS`.
        wrong_graph: Whether the graph lacks the second indications' edges.
        truth_patients: How many are simulated for the truth.

    Returns:
        Columns world, exposure, mediator, outcome, plant, truth, truth_interventional, identified,
        intermediate, method, estimate, lo, hi, p, adjusted_for, seconds.
    """
    return pd.DataFrame(list(_answers(world, patients, methods, wrong_graph, truth_patients)))


def _answers(
    world: World, patients: int, methods: Sequence[str], wrong: bool, truth_patients: int
) -> Iterator[dict[str, Any]]:
    graph = world.graph(wrong=wrong)
    values = simulate(world, patients, 1000 + world.spec.seed)
    seen = ObservationMap(cohort_of(pd.DataFrame(values)), graph)
    columns = {code: column.astype(np.float64) for code, column in values.items()}
    truth = true_effects(world, truth_patients)
    for (triple, kind), true in zip(world.hypotheses, truth.to_dict("records"), strict=True):
        adjustment = adjustment_set(graph, triple, seen.observed)
        for name in methods:
            began = time.perf_counter()
            answer = METHODS[name](Case(columns, adjustment))
            yield {
                "world": world.spec.seed,
                "exposure": triple.exposure,
                "mediator": triple.mediator,
                "outcome": triple.outcome,
                "plant": kind,
                "truth": true["ACME"],
                "truth_interventional": true["ACME_interventional"],
                "identified": adjustment.identified,
                "intermediate": len(adjustment.intermediate),
                "method": name,
                "estimate": answer.estimate,
                "lo": answer.lo,
                "hi": answer.hi,
                "p": answer.p,
                "adjusted_for": answer.adjusted_for,
                "seconds": time.perf_counter() - began,
            }


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """One row a method, over all worlds as one family.

    Args:
        table: From `answers_of_world`.

    Returns:
        Columns method, triples, found (p after Benjamini and Hochberg ≤ .05), precision and recall against
        the planted effects, coverage (of the 95 % limits), mae and r (of the estimate with the truth), nulls
        and null_below (share of triples without effect with p < .05), adjusted_for (mean number of codes),
        seconds (a triple).
    """
    rows = []
    for method, part in table.groupby("method", sort=False):
        real = ~part["plant"].isin(NULL_KINDS)
        found = benjamini_hochberg(part["p"]) <= _LEVEL
        hits, covered = int((found & real).sum()), part["truth"].between(part["lo"], part["hi"])
        null = part.loc[~real, "p"]
        estimated = part["estimate"].notna()
        rows.append(
            {
                "method": method,
                "triples": len(part),
                "found": int(found.sum()),
                "precision": hits / found.sum() if found.any() else np.nan,
                "recall": hits / real.sum() if real.any() else np.nan,
                "coverage": covered[estimated].mean() if estimated.any() else np.nan,
                "mae": (part["estimate"] - part["truth"]).abs().mean(),
                "r": part["estimate"].corr(part["truth"]) if estimated.sum() > 2 else np.nan,
                "nulls": len(null),
                "null_below": float((null < _LEVEL).mean()) if len(null) else np.nan,
                "adjusted_for": part["adjusted_for"].mean(),
                "seconds": part["seconds"].mean(),
            }
        )
    return pd.DataFrame(rows)
