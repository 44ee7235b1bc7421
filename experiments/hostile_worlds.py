"""Every decision word and every interval over hostile worlds: sizes, coverage and power in one table.

    export OMP_NUM_THREADS=1
    python experiments/hostile_worlds.py --out runs/hostile --replicates 400 --jobs 2
    python experiments/hostile_worlds.py --out runs/hostile --print-only

A stopped run goes on where it was: replicates lie in files of chunks, written whole.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
from hostile.draws import WORLDS
from hostile.judge import replicate
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from script import markdown as as_markdown

CHUNK = 20
SIZES = (373, 1500, 5400)


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="photos")
    parser.add_argument("--worlds", nargs="+", help="names, or parts of names")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--print-only", action="store_true")
    return parser.parse_args(argv)


def chunk(name: str, n: int, index: int, given: argparse.Namespace) -> None:
    """Replicates of one chunk, in a file of their own."""
    path = given.out / f"{list(WORLDS).index(name):02d}-{n}-{index:04d}.parquet"
    if path.exists():
        return
    rows = [
        row | {"replicate": i}
        for i in range(index * CHUNK, (index + 1) * CHUNK)
        for row in replicate(name, n, i, draws=given.draws, permutations=given.permutations)
    ]
    beside = path.with_suffix(f".{os.getpid()}")
    frame = pd.DataFrame(rows).astype({"said": float, "wrong": float})
    frame.assign(world=name, n=n).to_parquet(beside, index=False)
    beside.replace(path)


def run(given: argparse.Namespace) -> None:
    """All chunks that are missing, with a bar."""
    given.out.mkdir(parents=True, exist_ok=True)
    names = [w for w in WORLDS if not given.worlds or any(part in w for part in given.worlds)]
    chunks = -(-given.replicates // CHUNK)
    todo = [(w, n, i) for i in range(chunks) for n in given.sizes for w in names]
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("replicates", total=len(todo))
        with ProcessPoolExecutor(given.jobs) as pool:
            futures = [pool.submit(chunk, *one, given) for one in todo]
            try:
                for done in as_completed(futures):
                    done.result()
                    bar.advance(task)
            finally:
                pool.shutdown(cancel_futures=True)


def table(out: Path) -> pd.DataFrame:
    """One row per world, size, kind and statement: how often said, how often wrong, in percent."""
    rows = pd.concat(map(pd.read_parquet, sorted(out.glob("*.parquet"))), ignore_index=True)
    found = rows.groupby(["kind", "what", "world", "n"], sort=False).agg(
        replicates=("replicate", "nunique"), said=("said", "mean"), wrong=("wrong", "mean")
    )
    return found.reset_index()


def markdown(found: pd.DataFrame) -> str:
    """Words: how often said and how often wrong, per cent; intervals: how often they cover."""
    parts = []
    for kind, title in (("word", "Said, and in brackets wrong, %"), ("interval", "Coverage, %")):
        rows = found[found["kind"] == kind].copy()
        rows["cell"] = (
            (rows["said"] * 100).map("{:.0f}".format)
            + (rows["wrong"] * 100).map(" ({:.1f})".format)
            if kind == "word"
            else (100 - rows["wrong"] * 100).map("{:.1f}".format)
        )
        for what, part in rows.groupby("what", sort=False):
            wide = part.pivot_table(
                index="world", columns="n", values="cell", aggfunc="first", sort=False
            )
            parts.append(
                f"### {what}: {title}\n\n{as_markdown(wide.rename(columns=str).reset_index())}"
            )
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing and prints the table."""
    given = options(argv)
    if not given.print_only:
        run(given)
    found = table(given.out)
    found.to_csv(given.out / "table.csv", index=False)
    print(markdown(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
