"""Prints the heads that runs of symbolic mechanisms found, and how they compare with known ones (B11).

    python experiments/symbolic_results.py runs/lm-symbolic-0 runs/lm-symbolic-1

Known of SmolLM2-135M-Instruct (4 shots): the head of highest score of each type, and the least score. Every
deviation is printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from script import markdown

from vlbias.store.run_folder import Run
from vlbias.studies.symbolic.numbers import Tables, numbers

KNOWN = {
    "abstraction": (("L17H4",), 1.0),
    "induction": (("L20H5",), 2.5),
    "retrieval": (("L23H0", "L29H1"), 2.5),
}
"""Type to its heads, that of highest score first, and the least score of that one."""
LEAST_PAIRS = 20


def heads_of(tables: Tables) -> pd.DataFrame:
    """One row a type: pairs, gap, threshold, heads of highest score, heads found."""
    rows = []
    for _, kind in tables.types.iterrows():
        part = tables.heads[tables.heads["type"] == kind["type"]].head(3)
        top = [f"L{row.layer}H{row.head} {row.score:.2f}" for row in part.itertuples()]
        rows.append(
            {
                "type": kind["type"],
                "pairs": kind["pairs"],
                "gap": kind["gap"],
                "threshold": kind["threshold"],
                "highest": ", ".join(top),
                "found": kind["found"],
                "layer": kind["layer"],
            }
        )
    return pd.DataFrame(rows)


def deviations(tables: Tables) -> Iterator[str]:
    """What is not as it is known."""
    for name, (wanted, least) in KNOWN.items():
        part = tables.heads[tables.heads["type"] == name]
        top = [f"L{row.layer}H{row.head}" for row in part.head(len(wanted)).itertuples()]
        if tuple(top) != wanted:
            yield f"{name}: highest are {', '.join(top)}, known {', '.join(wanted)}"
        if part["score"].iloc[0] < least:
            yield f"{name}: highest score {part['score'].iloc[0]:.2f}, known {least} or more"
        lacking = [
            head
            for head in wanted
            if not part["found"][[f"L{r.layer}H{r.head}" == head for r in part.itertuples()]].any()
        ]
        if lacking:
            yield f"{name}: not found {', '.join(lacking)}"
        more = [
            f"L{row.layer}H{row.head}"
            for row in part[part["found"]].itertuples()
            if f"L{row.layer}H{row.head}" not in wanted
        ]
        if more:
            yield f"{name}: found besides {', '.join(more)}"
    if len(tables.order) != 2 or not (tables.order["estimate"] > 0).all():
        yield "layers are not in the order abstraction, induction, retrieval"
    elif not (tables.order["lo"] > 0).all():
        yield "limits of a difference of layers hold 0"
    few = tables.draws[tables.draws["used"] < LEAST_PAIRS]
    for row in few.itertuples():
        yield f"{row.pairs} pairs of {row.rule}: {row.used} solved, {LEAST_PAIRS} asked"


def prompts_of(run: Run) -> set[str]:
    """All prompts that scores were computed from."""
    cells: list[Any] = [json.loads(path.read_text()) for path in run.files]
    return {text for cell in cells if cell["step"] == "scores" for text in cell["prompts"]}


def main() -> None:
    """Prints the tables of every run, and what is not as it is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=2000)
    given = parser.parse_args()
    seen: set[str] = set()
    for folder in given.runs:
        run = Run(folder)
        tables = numbers(run, draws=given.draws)
        prompts = prompts_of(run)
        print(f"## Seed {run.manifest['study']['seed']}\n")
        print(f"{len(prompts)} prompts, {len(prompts & seen)} of them in a run before.\n")
        seen |= prompts
        print(markdown(heads_of(tables)))
        print("\nOrder of layers:\n\n" + markdown(tables.order))
        print("\nPairs drawn:\n\n" + markdown(tables.draws))
        print("\nAccuracy:\n\n" + markdown(tables.accuracy))
        if len(tables.ablation):
            print("\nAblation:\n\n" + markdown(tables.ablation.rename(columns={"arm": "silenced"})))
        found = list(deviations(tables))
        print("\nDeviations: " + ("; ".join(found) if found else "none") + ".\n")


if __name__ == "__main__":
    main()
