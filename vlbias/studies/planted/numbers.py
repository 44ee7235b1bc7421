"""What the methods said of planted models, judged: all tables of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlbias.analysis.inference import student
from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.studies.planted.plants import TRUTH

__all__ = ["Tables", "judge", "numbers", "summary"]


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of planted models, as tidy frames.

    Args:
        methods: One row per model, seed, method and encoder: printed, change, share, named, right.
        summary: One row per method and plant.
    """

    methods: pd.DataFrame
    summary: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Not used: the tests of each cell were made when it was run.
        seed: Not used.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged.
    """
    refuse_unfinished(run)
    note("judging the methods")
    table = judge(pd.DataFrame([row for file in run.files for row in json.loads(file.read_text())]))
    return Tables(table, summary(table))


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """With the share of each encoder in what both change, and whether what is named is the truth."""
    cell = ["method", "plant", "seed"]
    size = table["change"].abs()
    total = size.groupby([table[name] for name in cell]).transform("sum")
    table = table.assign(share=np.where(total > 0, size / total, 0.0))
    named = table[table["named"]].groupby(cell)["encoder"].agg(set).to_dict()
    right = [
        named.get(key, set()) == TRUTH[key[1]]
        for key in table[cell].itertuples(index=False, name=None)
    ]
    return table.assign(right=right)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per method and plant: how often right, and the share of the wrong encoder with limits.

    Limits are Student's over seeds, whose scenes are independent; clipped to shares.
    """
    rows = []
    for (method, plant), part in table.groupby(["method", "plant"], sort=False):
        wrong = part[~part["encoder"].isin(TRUTH[str(plant)])]
        cells = part.drop_duplicates("seed")
        row = {
            "method": method,
            "plant": plant,
            "right": int(cells["right"].sum()),
            "seeds": len(cells),
            "printed": float(cells["printed"].mean()),
            "wrong_share": np.nan,
            "lo": np.nan,
            "hi": np.nan,
        }
        if len(TRUTH[str(plant)]) == 1:
            shares = wrong["share"].to_numpy(float)
            found = student(shares, np.ones(len(shares), dtype=np.intp))
            row |= {
                "wrong_share": found.estimate,
                "lo": max(found.lo, 0.0),
                "hi": min(found.hi, 1.0),
            }
        rows.append(row)
    return pd.DataFrame(rows)
