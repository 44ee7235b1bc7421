"""How well mediation on a causal knowledge graph does where the truth is known; prints a table.

python experiments/cohort_truth.py > experiments/results/cohort.md

Simulates worlds of 30 drugs each, with 20,000 patients, and compares the effects that vlbias estimates with
those of the simulation. No real disease or drug is meant. Worlds are kept in --cache, so that the same command
goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from vlbias.data.simulated_cohort import KINDS, CohortSpec, make_world
from vlbias.studies.cohort.benchmark import answers_of_world, scores

FAST = ("graph", "unadjusted", "linear probability", "product of coefficients")


def main() -> None:
    """Print every section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=36)
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--truth-patients", type=int, default=100_000)
    parser.add_argument("--cache", type=Path, default=Path("build/cohort-truth"))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    right = kept(given, "right", KINDS[:4], range(given.worlds))
    few = range(max(given.worlds // 3, 1))
    wrong = kept(given, "wrong", KINDS[:4], few, wrong_graph=True)
    between = kept(given, "intermediate", (KINDS[4],), few)
    print("# Cohorts: what is found where the truth is known\n")
    print(
        f"    python experiments/cohort_truth.py --worlds {given.worlds} --patients {given.patients}\n"
    )
    print(
        f"{given.worlds} worlds of 30 drugs, {given.patients} patients each; truth from {given.truth_patients} "
        "simulated patients. Simulated: nothing follows for any real drug.\n"
    )
    print("## Methods (D2, D3, D4, D6)\n\n" + shown(scores(right).drop(columns="seconds")) + "\n")
    print("## Adjusted by the graph, by type of drug\n\n" + shown(by_kind(right)) + "\n")
    print("## A graph without the second indications (D8)\n")
    print(wrong_graph(right, wrong, few) + "\n")
    print("## Intermediate confounding (D7)\n")
    print(intermediate(between) + "\n")
    print(f"CPU time {(time.process_time() - began) / 60:.1f} min (worlds in the cache take none).")


def kept(
    given: argparse.Namespace,
    name: str,
    kinds: tuple[str, ...],
    seeds: range,
    *,
    wrong_graph: bool = False,
) -> pd.DataFrame:
    """What methods say of worlds; read from the cache where it is there."""
    frames = []
    for seed in seeds:
        path = given.cache / f"{name}-{seed}-{given.patients}-{given.truth_patients}.parquet"
        if not path.is_file():
            found = answers_of_world(
                make_world(CohortSpec(seed, kinds=kinds)),
                given.patients,
                FAST if name == "right" else FAST[:2],
                wrong_graph=wrong_graph,
                truth_patients=given.truth_patients,
            )
            found.to_parquet(path)
        frames.append(pd.read_parquet(path))
    return pd.concat(frames, ignore_index=True)


def by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Bias, coverage and rejections of each type of drug."""
    rows = []
    for kind, part in table[table["method"] == "graph"].groupby("plant", sort=False):
        rows.append(
            {
                "plant": kind,
                "triples": len(part),
                "mean truth": part["truth"].mean(),
                "mean error": (part["estimate"] - part["truth"]).mean(),
                "coverage": part["truth"].between(part["lo"], part["hi"]).mean(),
                "p < .05": (part["p"] < 0.05).mean(),
            }
        )
    return pd.DataFrame(rows)


def wrong_graph(right: pd.DataFrame, wrong: pd.DataFrame, seeds: range) -> str:
    """False findings among confounded drugs without effect, with the right and the wrong graph."""
    rows = []
    same = right[right["world"].isin(seeds)]
    for name, table, method in (
        ("right graph", same, "graph"),
        ("wrong graph", wrong, "graph"),
        ("no adjustment", same, "unadjusted"),
    ):
        part = table[(table["method"] == method) & (table["plant"] == "null_confounded")]
        rows.append(
            {
                "adjusted by": name,
                "confounded nulls": len(part),
                "p < .05": int((part["p"] < 0.05).sum()),
                "share": (part["p"] < 0.05).mean(),
                "mean error": (part["estimate"] - part["truth"]).mean(),
            }
        )
    return shown(pd.DataFrame(rows))


def intermediate(table: pd.DataFrame) -> str:
    """Whether intermediate confounding is seen, and what each estimate covers."""
    rows = []
    for method, part in table.groupby("method", sort=False):
        truth = part["truth_interventional"]
        rows.append(
            {
                "method": method,
                "triples": len(part),
                "identified as natural": int(part["identified"].sum())
                if method == "graph"
                else "–",
                "coverage of the interventional ACME": truth.between(part["lo"], part["hi"]).mean(),
                "coverage of the natural ACME": part["truth"]
                .between(part["lo"], part["hi"])
                .mean(),
                "mean error": (part["estimate"] - truth).mean(),
            }
        )
    return shown(pd.DataFrame(rows))


def shown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = [[str(name) for name in frame.columns], ["---"] * len(frame.columns)]
    for row in frame.itertuples(index=False):
        lines.append([cell(value) for value in row])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: object) -> str:
    """A value in few digits."""
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return "–"
        return f"{value:.5f}" if 0 < abs(value) < 0.1 else f"{value:.4f}"
    return str(value)


if __name__ == "__main__":
    main()
