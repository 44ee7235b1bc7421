"""Coverage of every interval, size and power of every test, on worlds whose truth is planted.

    export OMP_NUM_THREADS=1
    python experiments/coverage.py --out runs/coverage --jobs 2
    python experiments/coverage.py --out runs/coverage --jobs 2 --kind headline
    python experiments/coverage.py --out runs/coverage --jobs 2 --kind family --sizes 300 1500
    python experiments/coverage.py --out runs/coverage --jobs 2 --kind measures
    python experiments/coverage.py --out runs/coverage --jobs 2 --kind held-out
    python experiments/coverage.py --out runs/coverage --jobs 2 --kind others
    python experiments/coverage.py --out runs/coverage --jobs 2 --kind odds
    python experiments/coverage.py --out runs/coverage --print-only

The first takes hours and holds every row; "headline" is B, its change and the decision only, for
many replicates; "family" is error over mediators; "measures" is other measures than false
positives, and three groups; "held-out" is effects in directions that other images fixed; "others"
is single objects, areas under the curve, modalities, Shapley shares, layers, means and odds, "odds"
the last alone, which no scenario changes.
--quick takes 40 replicates of each cell.
One file per chunk of replicates, written beside and renamed, so that a stopped run goes on where it
was; all kinds of cells add up in one table.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
from coverage_measures import measures
from coverage_others import only_odds, others
from coverage_scenarios import SCENARIOS
from coverage_table import markdown
from replicates import KINDS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

KINDS = {**KINDS, "measures": measures, "others": others, "odds": only_odds}
SIZES = (300, 1500, 5400)
# where one scenario says it all
ONLY = {
    "family": ["no bias, nothing done", "bias, nothing done"],
    "odds": ["no bias, nothing done"],
    "others": ["no bias, nothing done", "bias, nothing done", "bias, 25 % removed"],
    "measures": ["no bias, nothing done", "bias, nothing done", "bias, 25 % removed"],
}
CHUNK = 20


def chunk(kind: str, n: int, scenario: str, index: int, out: Path) -> Path:
    """Replicates of one chunk, in a file of their own."""
    start = "" if kind == "full" else f"{kind}-"
    path = out / f"{start}n{n}-{list(SCENARIOS).index(scenario)}-{index:04d}.parquet"
    if not path.exists():
        parts = []
        for i in range(index * CHUNK, (index + 1) * CHUNK):
            rows = KINDS[kind](n, scenario, i)
            parts.append(pd.DataFrame(rows).assign(rep=f"{kind} {i}"))
        frame = pd.concat(parts).assign(n=n, scenario=scenario)
        for column in ("covered", "reduced"):
            frame[column] = frame.get(column, pd.Series(dtype=float)).astype(float)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        frame.to_parquet(temporary)
        os.replace(temporary, path)
    return path


def summarise(out: Path) -> pd.DataFrame:
    """Means over replicates per size, scenario and quantity."""
    parts = [pd.read_parquet(p) for p in sorted(out.glob("*.parquet"))]
    frame = pd.concat([p.assign(rep=p["rep"].astype(str)) for p in parts])
    for column in ("covered", "reduced"):
        frame[column] = frame[column].astype(float)
    groups = frame.groupby(["quantity", "scenario", "n"], sort=False)
    table = groups.agg(
        replicates=("rep", "nunique"),
        coverage=("covered", "mean"),
        width=("width", "median"),
        rejected=("rejected", "mean"),
        reduced=("reduced", "mean"),
        truth=("truth", "mean"),
    )
    return table.reset_index()


def main() -> None:
    """Runs the missing chunks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--kind", choices=list(KINDS), default="full")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="40 replicates per cell")
    parser.add_argument("--print-only", action="store_true", help="only the table of what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = 40 if options.quick else options.replicates
    todo = [
        (options.kind, n, scenario, i)
        for i in range(-(-wanted // CHUNK))
        for n in options.sizes
        for scenario in ONLY.get(options.kind, SCENARIOS)
    ]
    if not options.print_only:
        columns = (*Progress.get_default_columns()[:1], BarColumn(), MofNCompleteColumn())
        with (
            Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
            ProcessPoolExecutor(options.jobs) as pool,
        ):
            bar = progress.add_task("chunks", total=len(todo))
            for done in as_completed([pool.submit(chunk, *cell, options.out) for cell in todo]):
                done.result()
                progress.advance(bar)
    table = summarise(options.out)
    print(markdown(table, list(SCENARIOS)))


if __name__ == "__main__":
    main()
