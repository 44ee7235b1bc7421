"""All tables of a run of comprehension."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from vlbias.analysis.edit_effects import edit_effects, edit_sizes, item_means
from vlbias.analysis.inference import student
from vlbias.analysis.sign_flips import sign_flip_test
from vlbias.errors import BadTable
from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run

__all__ = ["Tables", "numbers"]

_MEDIATORS = (
    "mediator", "items", "deep", "surface", "difference", "lo", "hi", "threshold", "p",
    "significant",
)  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of a subject's comprehension, as tidy frames.

    Args:
        effects: One row a quantity: accuracy, the unconditioned contrast, ADCE, AICE, TE, PN, PS, with limits.
        sizes: One row a measure, "size" and of images "strength": mean of both arms and their difference.
        statuses: One row a world and status: how many answers.
        variants: One row an arm and variant: how often the answer changed.
        mediators: One row a mediator: what it carries of a deep and of a surface edit.
        items: One row an item.
        answers: One row a text.
    """

    effects: pd.DataFrame
    sizes: pd.DataFrame
    statuses: pd.DataFrame
    variants: pd.DataFrame
    mediators: pd.DataFrame
    items: pd.DataFrame
    answers: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Resampling draws; the test of mediators flips signs as often, at least 5,000 times.
        seed: Of the draws.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged, or no original has an answer.
    """
    refuse_unfinished(run)
    note("comparing the arms")
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in run.files]
    answers = pd.DataFrame(
        [row for cell in cells if cell["step"] == "answers" for row in cell["rows"]]
    )
    items = item_means(answers)
    if items.empty:
        counts = answers["status"].value_counts().to_dict()
        raise BadTable(
            f"{run.folder}: no original item has an answer ({counts}); look at what was written in the "
            "cells, and give another parser or choices"
        )
    parts = [cell for cell in cells if cell["step"] == "mediators"]
    return Tables(
        effects=edit_effects(items, draws=draws, seed=seed),
        sizes=_sizes(answers),
        statuses=answers.groupby(["world", "status"], sort=False)
        .size()
        .reset_index(name="answers"),
        variants=_variants(answers),
        mediators=_mediators(run, parts, max(draws, 5000), seed),
        items=items.reset_index(),
        answers=answers,
    )


def _sizes(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a measure of edits: their size, and of images their strength."""
    edited = answers[answers["world"] != "original"]
    rows = []
    for measure in ("size", "strength"):
        # runs of 0.1.0 have no strength, and edits of texts have none
        if measure not in edited or edited[measure].isna().all():
            continue
        mean = edited.pivot_table(index="item", columns="world", values=measure, aggfunc="mean")
        rows.append({"measure": measure, **asdict(edit_sizes(mean["deep"], mean["surface"]))})
    return pd.DataFrame(rows)


def _variants(answers: pd.DataFrame) -> pd.DataFrame:
    said = answers[answers["status"] == "ok"]
    first = said[said["world"] == "original"].set_index("item")["answer"]
    edited = said[(said["world"] != "original") & said["item"].isin(first.index)]
    changed = edited.assign(changed=edited["answer"] != edited["item"].map(first))
    by = changed.groupby(["world", "variant"], sort=False)
    return by.agg(
        items=("item", "size"), size=("size", "mean"), changed=("changed", "mean")
    ).reset_index()


def _mediators(run: Run, parts: Sequence[dict[str, Any]], draws: int, seed: int) -> pd.DataFrame:
    """Share of each arm's change that a mediator carries, and whether it carries more of the deep one's.

    Signs count towards the change: an indirect effect is positive where it has the sign of the item's total.
    """
    if not parts:
        return pd.DataFrame(columns=_MEDIATORS)
    names = list(run.manifest["mediators"])
    clusters = np.array([cluster for part in parts for cluster in part["clusters"]])
    carried = {}
    for arm in ("deep", "surface"):
        total = np.concatenate([np.array(part[arm]["total"], float) for part in parts])
        indirect = np.concatenate(
            [np.array(part[arm]["indirect"], float) for part in parts], axis=1
        )
        carried[arm] = indirect * np.sign(total)
    fine = np.isfinite(carried["deep"]).all(axis=0) & np.isfinite(carried["surface"]).all(axis=0)
    if not fine.any():
        return pd.DataFrame({"mediator": names, "items": 0}).reindex(columns=_MEDIATORS)
    deep, surface = (carried[arm][:, fine].T for arm in ("deep", "surface"))
    difference, code = deep - surface, np.unique(clusters[fine], return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    test = sign_flip_test(difference, code, draws=draws, rng=rng)
    limits = [
        student(np.bincount(code, column).astype(float), np.bincount(code))
        for column in difference.T
    ]
    frame = pd.DataFrame(
        {
            "mediator": names,
            "items": int(fine.sum()),
            "deep": deep.mean(axis=0),
            "surface": surface.mean(axis=0),
            "difference": test.mean,
            "lo": [one.lo for one in limits],
            "hi": [one.hi for one in limits],
            "threshold": test.threshold,
            "p": test.p,
            "significant": test.significant,
        }
    )
    return frame.sort_values("difference", ascending=False, kind="stable", ignore_index=True)
