"""The numbers of a run of unlearning: conditions side by side, at matched forgetting where it was reached."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vlbias.analysis.paired_shares import paired_differences, with_holm
from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.studies.knowledge.effect_map import CONTRAST, EffectMap, contrast_of, traced_facts

__all__ = ["SCORES", "Tables", "numbers"]

SCORES = (
    "forget", "retain", "aggregate", "utility", "membership_auc", "score", "divergence", "relearned",
)  # fmt: skip
_TRAINED = ("steps", "stopped", "relative", "parameters", "seconds")


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of a run, as tidy frames.

    Args:
        conditions: One row a condition and seed.
        methods: One row a condition: means over seeds, the range of the score, and whether all seeds reached
            the level of forgetting.
        blocks: One row a condition, seed and block: what is known again with this block as it was.
        differences: One row a pair of methods that reached the level: facts retained by one alone.
        tasks: One row a condition, seed, group, task and metric, where facts belong to a task of LUME.
        effects: One row a group, part, layer and role: where facts are read before training; empty where the
            study does not trace.
        contrast: One row a part, layer and role: share in the facts to forget less that in those to retain.
    """

    conditions: pd.DataFrame
    methods: pd.DataFrame
    blocks: pd.DataFrame
    differences: pd.DataFrame
    tasks: pd.DataFrame
    effects: pd.DataFrame
    contrast: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Of the bootstrap over subjects, where facts are traced.
        seed: Of these.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged.
    """
    refuse_unfinished(run)
    study = run.manifest["study"]
    order = ["before", "gold", *(method["label"] for method in study["methods"])]
    every = [json.loads(path.read_text(encoding="utf-8")) for path in run.files]
    cells = [cell for cell in every if "label" in cell]
    cells.sort(key=lambda cell: (order.index(cell["label"]), cell["seed"]))
    conditions = pd.DataFrame([_row(cell, study["level"]) for cell in cells])
    records = [one for cell in every if "traced" in cell for one in cell["traced"]]
    if records:
        note("resampling subjects")
    return Tables(
        conditions,
        _methods(conditions),
        _blocks(cells),
        _differences(cells, conditions),
        _tasks(cells),
        *_maps(run, records, draws, seed),
    )


def _row(cell: dict[str, Any], level: float) -> dict[str, Any]:
    numbers_ = {name: np.nan if cell[name] is None else cell[name] for name in SCORES}
    trained = {name: cell.get(name, np.nan) for name in _TRAINED}
    reached = not level or "reached" in str(cell.get("stopped", ""))
    return {
        "label": cell["label"],
        "seed": cell["seed"],
        **numbers_,
        **trained,
        "blocks": " ".join(cell.get("blocks", [])),
        "reached": reached if "stopped" in cell else False,
    }


def _methods(conditions: pd.DataFrame) -> pd.DataFrame:
    grouped = conditions.groupby("label", sort=False)
    means = grouped[[*SCORES, "steps", "relative", "seconds"]].mean()
    means.insert(0, "seeds", grouped.size())
    means["score_lowest"], means["score_highest"] = grouped["score"].min(), grouped["score"].max()
    means["reached"] = grouped["reached"].all()
    return means.reset_index()


def _blocks(cells: Sequence[dict[str, Any]]) -> pd.DataFrame:
    before = next(cell["forget"] for cell in cells if cell["label"] == "before")
    rows = []
    for cell in cells:
        lost = before - cell["forget"]
        for site, known in cell.get("put_back", {}).items():
            share = (known - cell["forget"]) / lost if lost > 0 else np.nan
            who = {"label": cell["label"], "seed": cell["seed"], "site": site}
            rows.append({**who, "known_again": known, "share": share})
    return pd.DataFrame(rows, columns=["label", "seed", "site", "known_again", "share"])


def _tasks(cells: Sequence[dict[str, Any]]) -> pd.DataFrame:
    columns = ["label", "seed", "group", "task", "metric", "value", "facts"]
    rows = [
        {"label": cell["label"], "seed": cell["seed"], **one}
        for cell in cells
        for one in cell.get("tasks", ())
    ]
    return pd.DataFrame(rows, columns=columns)


def _maps(
    run: Run, records: Sequence[dict[str, Any]], draws: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where facts to forget and facts to retain are read, and the contrast of the two."""
    facts = traced_facts(run.samples, records)
    study = run.manifest["study"]
    maps = [
        EffectMap.of(group, facts, records, draws, np.random.default_rng([seed, number]))
        for number, group in enumerate((study["forget"], study["retain"]))
    ]
    there = [one.effects for one in maps if len(one.effects)]
    if len(there) < len(maps):  # nothing was traced, or a group has no fact that is known
        empty = maps[0].effects if not there else there[0]
        return empty, pd.DataFrame(columns=CONTRAST)
    return pd.concat(there, ignore_index=True), contrast_of(*maps)


def _differences(cells: Sequence[dict[str, Any]], conditions: pd.DataFrame) -> pd.DataFrame:
    """Exact McNemar tests of facts retained, seed by seed, between methods that forgot as much."""
    frames = []
    for seed, rows in conditions[conditions["reached"]].groupby("seed", sort=False):
        labels = set(rows["label"])
        right = {
            cell["label"]: cell["retain_right"]
            for cell in cells
            if cell["seed"] == seed and cell["label"] in labels
        }
        frame = paired_differences(right)
        frame.insert(0, "seed", seed)
        frames.append(frame)
    empty = paired_differences({}).assign(seed=[])
    return with_holm(pd.concat(frames, ignore_index=True) if frames else empty)
