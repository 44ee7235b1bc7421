"""Which columns of the tables a page shows, and what they are called there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

__all__ = [
    "effect_columns",
    "group_columns",
    "modality_columns",
    "nearest_columns",
    "object_columns",
    "world_columns",
]


_EFFECT = [
    "contrast", "mediator", "effect", "functional", "estimate", "lo", "hi", "p", "p_adjusted", "relative",
    "cut", "n",
]  # fmt: skip


def effect_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Effects as the page shows them: no share where its denominator may be 0, none for a cut."""
    shown = rows[_EFFECT].copy()
    # a share without limits, since its denominator may be 0, is no share
    bounded = np.isfinite(rows["relative_lo"]) & np.isfinite(rows["relative_hi"])
    shown["relative"] = shown["relative"].where(bounded).astype(object)
    shown.loc[shown["cut"], "relative"] = "cut"
    return shown.drop(columns="cut")


def world_columns(conditions: pd.DataFrame) -> pd.DataFrame:
    """Worlds as the page shows them: where no B is given, nothing is within the floor or beyond it."""
    words = conditions["within_floor"].astype(bool).map({True: "yes", False: "no"})
    return conditions.assign(within_floor=words.where(conditions["n_objects"] > 0))


def modality_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """The 2 x 2 of modalities, without the functional that cannot be attributed."""
    rows = rows[rows["functional"] != "B_crossfit"]
    wanted = ["effect", "functional", "estimate", "lo", "hi", "p", "p_adjusted", "relative", "n"]
    return rows[wanted]


def object_columns(rows: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Objects with support, without the columns of the tests' inner numbers."""
    shown = rows[rows["status"] == "ok"]
    shown = shown.drop(columns=["status", "z", "interval", "p_permutation"], errors="ignore")
    return group_columns(shown, groups)


def nearest_columns(rows: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Recall by the nearest person, with the columns of groups in the page's words."""
    heads = {f"n_{group}": f"photos with it, {group} nearest" for group in groups}
    heads |= {f"rate_{group}": f"recall, {group} nearest" for group in groups}
    return rows.rename(columns=heads)


def group_columns(rows: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """With the columns of groups and of their pairs in the page's words."""
    heads = {f"auc_gap_{a}_{b}": f"AUC gap, {a} − {b}" for a, b in combinations(groups, 2)}
    over = len(groups) > 2  # a group stands in several pairs
    heads |= {
        f"superiority_gap_{a}_{b}": f"superiority, {a}" + over * f" over {b}"
        for a, b in combinations(groups, 2)
    }
    for group in groups:
        heads[f"n_{group}"] = f"photos without it, {group}"
        heads[f"events_{group}"] = f"false positives, {group}"
        heads[f"rate_{group}"] = f"FPR, {group}"
    return rows.rename(columns=heads)
