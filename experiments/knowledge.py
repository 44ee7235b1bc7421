"""Unlearning and editing on the small nets whose facts are known: orderings, matched forgetting, build-up.

    python experiments/knowledge.py --only ordering     # A6: the losses of lm_unlearning.toml, 3 seeds
    python experiments/knowledge.py --only layers       # A8: one MLP trained at a time, at matched forgetting
    python experiments/knowledge.py --only build-up     # B6: 64 edits of one layer

Prints tables as Markdown. Killed at any moment, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file
from script import HERE, markdown

import vlbias.data
from vlbias.edits.change import Change
from vlbias.models import load_model
from vlbias.store.run_folder import Run
from vlbias.studies import kind_named, lifecycle

NETS = Path(vlbias.data.__file__).parent / "knowledge"
PLANTED = (0, 2, 4)
LAYERS = range(6)
LEVEL = 0.1


def tables_of(study: Any, out: Path) -> Any:
    """The tables of a study that is run, or gone on with."""
    done = lifecycle.run(study, out)
    if done.failed:
        raise SystemExit(f"{len(done.failed)} cells failed; see {done.folder}/cells/*.error.json")
    return kind_named(study.kind).numbers(Run(done.folder), draws=500, seed=0)


def ordering(out: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """A6: gold above hinge above joint above ascent, by the task's score."""
    study = lifecycle.load_study(HERE / "lm_unlearning.toml")
    conditions = tables_of(study, out).conditions
    columns = [
        "forget",
        "retain",
        "utility",
        "membership_auc",
        "score",
        "divergence",
        "relearned",
        "steps",
    ]
    yield "Every condition and seed", conditions[["label", "seed", *columns, "reached"]]
    scores = conditions.pivot(index="seed", columns="label", values="score")
    chain = ["gold", "hinge, early MLPs", "joint, early MLPs", "gradient ascent, early MLPs"]
    scores["gold"] = scores["gold"].dropna().iloc[0]
    kept = scores.dropna(subset=chain[1:])[chain].reset_index()
    kept["in this order"] = kept[chain].apply(lambda row: row.is_monotonic_decreasing, axis=1)
    yield "Score of the task, in the order that A6 expects", kept


def planted_net(layer: int, out: Path) -> Path:
    """The folder of gold with the facts to forget written into the MLP of one layer."""
    folder = out / f"planted-{layer}"
    if not (folder / "change" / "change.json").is_file():
        values = load_file(NETS / f"planted-{layer}" / "change.safetensors")
        change = Change({name: value.float() for name, value in values.items()})
        change.folded(load_model("fact-gold"), folder)
    return folder


def layers(out: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """A8: facts retained by the layer that is trained, at one level of forgetting."""
    rows = []
    for planted in PLANTED:
        methods = [
            {"label": f"MLP {n}", "sites": [f"lm/mlp.{n}"], "options": {"check": 2}} for n in LAYERS
        ]
        study = lifecycle.parse_study({
            "kind": "unlearning", "name": f"planted-{planted}", "model": str(planted_net(planted, out)),
            "gold": "fact-gold", "facts": {"name": "fact-world"}, "holdout": "holdout", "level": LEVEL,
            "relearn": 0, "methods": methods, "seeds": [0, 1, 2],
        })  # fmt: skip
        conditions = tables_of(study, out).conditions
        trained = conditions[conditions["label"].str.startswith("MLP")]
        for label, part in trained.groupby("label", sort=False):
            means = part[["forget", "retain", "utility", "score", "steps"]].mean()
            reached = int(part["reached"].sum())
            rows.append({"planted": planted, "trained": label, "reached": reached, **means})
    found = pd.DataFrame(rows)
    yield f"Means of three seeds; training stops at {LEVEL:.0%} of the facts to forget", found
    matched = found[found["reached"] == 3]
    best = matched.loc[
        matched.groupby("planted")["retain"].idxmax(), ["planted", "trained", "retain"]
    ]
    best["is the planted one"] = best["trained"] == "MLP " + best["planted"].astype(str)
    yield "Layer that keeps most, of those that all seeds reached the level in", best


def build_up(out: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """B6: S after 64 edits no more than 0.7 of S after the first."""
    study = lifecycle.load_study(HERE / "lm_editing.toml")
    few = [
        one for one in study.methods if one.label in ("ROME, layer 1", "r-ROME, layer 1", "MEMIT")
    ]
    changes = {"edits": 64, "probes": 60, "methods": tuple(few), "name": "build-up"}
    content = study.model_copy(update=changes).model_dump()
    checks = tables_of(lifecycle.parse_study(content), out).checkpoints
    columns = [
        "label",
        "protocol",
        "edits",
        "edit_success",
        "edited_right",
        "unedited_right",
        "utility",
        "score",
    ]
    yield "Checkpoints", checks[columns]
    wide = checks.pivot(index=["label", "protocol"], columns="edits", values="score")
    ends = wide[[1, 64]].rename(columns={1: "S(1)", 64: "S(64)"}).reset_index()
    ends["S(64) / S(1)"] = ends["S(64)"] / ends["S(1)"]
    yield "Build-up", ends


PARTS: dict[str, Callable[[Path], Iterator[tuple[str, pd.DataFrame]]]] = {
    "ordering": ordering,
    "layers": layers,
    "build-up": build_up,
}


def main() -> None:
    """Run what is asked for and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=list(PARTS), action="append")
    parser.add_argument("--out", type=Path, default=Path("build/knowledge"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only or PARTS:
        for title, table in PARTS[name](options.out):
            print(f"### {title}\n\n{markdown(table)}\n", flush=True)


if __name__ == "__main__":
    main()
