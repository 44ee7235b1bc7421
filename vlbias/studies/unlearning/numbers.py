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
    """

    conditions: pd.DataFrame
    methods: pd.DataFrame
    blocks: pd.DataFrame
    differences: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Not used: nothing is resampled.
        seed: Not used.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged.
    """
    refuse_unfinished(run)
    study = run.manifest["study"]
    order = ["before", "gold", *(method["label"] for method in study["methods"])]
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in run.files]
    cells.sort(key=lambda cell: (order.index(cell["label"]), cell["seed"]))
    conditions = pd.DataFrame([_row(cell, study["level"]) for cell in cells])
    return Tables(conditions, _methods(conditions), _blocks(cells), _differences(cells, conditions))


def _row(cell: dict[str, Any], level: float) -> dict[str, Any]:
    numbers_ = {name: np.nan if cell[name] is None else cell[name] for name in SCORES}
    trained = {name: cell.get(name, np.nan) for name in _TRAINED}
    reached = not level or "reached" in str(cell.get("stopped", ""))
    return {
        "label": cell["label"],
        "seed": cell["seed"],
        **numbers_,
        **trained,
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
