"""Effects on the mean of an outcome, with intervals over clusters."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.errors import BadTable, MissingArms

__all__ = ["EFFECTS", "mean_effects"]

EFFECTS: dict[str, dict[str, float]] = {
    "TE": {"11": 1, "00": -1},
    "NDE": {"10": 1, "00": -1},
    "NIE": {"01": 1, "00": -1},
    "TIE": {"11": 1, "10": -1},
    "TDE": {"11": 1, "01": -1},
    "INT": {"11": 1, "10": -1, "01": -1, "00": 1},
}
"""Effect to coefficients of the arms; Pearl (2001), with the interaction as what is left of TE."""


def mean_effects(
    arms: pd.DataFrame, *, by: str | None, draws: int, rng: np.random.Generator, level: float = 0.95
) -> pd.DataFrame:
    """Mean effects of a long frame of potential outcomes, percentile intervals over clusters.

    A mean is linear in the clusters' sums, so the percentile bootstrap over clusters is valid for it;
    it is not for sums of absolute gaps (see `vlbias.analysis.disparity`).

    Args:
        arms: Columns sample_id, cluster, contrast, mediator, arm, outcome, target, value.
        by: Column whose values are groups, words, numbers or what else can be told apart; None for no
            groups.
        draws: Bootstrap draws, shared by all rows, so that they can be compared.
        rng: Seeded generator.
        level: Of the intervals.

    Returns:
        One row per contrast, mediator, outcome, target, effect and group; with two or more groups also
        the differences "a - b".

    Raises:
        MissingArms: if a mediator lacks an arm.
        BadTable: if a sample has no group.
    """
    if draws < 1:
        raise BadTable(f"draws {draws}: expected at least 1")
    clusters, cluster = np.unique(arms["cluster"].to_numpy(str), return_inverse=True)
    weights = rng.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), size=draws)
    groups, code = _groups(arms, by)
    arms = arms.assign(_cluster=cluster, _group=code)
    rows: list[dict[str, object]] = []
    shared = arms[arms["mediator"] == ""]
    for names, part in arms.groupby(["contrast", "mediator", "outcome", "target"], sort=False):
        named = dict(zip(("contrast", "mediator", "outcome", "target"), names, strict=True))
        same = (shared[list(named)[::2]] == [names[0], names[2]]).all(axis=1)
        both = (
            part
            if names[1] == ""
            else pd.concat([part, shared[same & (shared["target"] == names[3])]])
        )
        wide = both.pivot(index=["sample_id", "_cluster", "_group"], columns="arm", values="value")
        for effect, terms in EFFECTS.items():
            if names[1] == "" and effect != "TE":
                continue
            lacking = sorted(set(terms) - set(wide.columns))
            if lacking:
                raise MissingArms(f"{named}: {effect} needs arms {lacking}; compute them first")
            rows += _rows(wide, effect, terms, groups, weights, {**named, "effect": effect}, level)
    return pd.DataFrame(rows)


def _groups(arms: pd.DataFrame, by: str | None) -> tuple[list[Hashable], npt.NDArray[np.intp]]:
    """The groups in order, and the place of each row's group among them."""
    if by is None:
        return ["all"], np.zeros(len(arms), np.intp)
    column = arms[by].astype(object)
    if column.isna().any():
        lacking = arms.loc[column.isna(), "sample_id"].unique()
        raise BadTable(
            f"{len(lacking)} samples have no {by!r}, {str(lacking[0])!r} first; leave them out or give them one"
        )
    try:
        found = list(dict.fromkeys(column))
    except TypeError as error:
        raise BadTable(
            f"{by!r} holds values that are no groups ({error}); give words or numbers"
        ) from error
    try:
        found.sort()
    except TypeError:  # values of different kinds have no order of their own
        found.sort(key=lambda value: (type(value).__name__, str(value)))
    place = {value: i for i, value in enumerate(found)}
    return found, np.array([place[value] for value in column], np.intp)


def _rows(
    wide: pd.DataFrame,
    effect: str,
    terms: dict[str, float],
    groups: list[Hashable],
    weights: npt.NDArray[np.int64],
    named: dict[str, object],
    level: float,
) -> list[dict[str, object]]:
    value = sum(c * wide[arm].to_numpy(np.float64) for arm, c in terms.items())
    known = ~np.isnan(np.asarray(value))
    cluster = wide.index.get_level_values("_cluster").to_numpy()
    group = wide.index.get_level_values("_group").to_numpy()
    cut = (
        bool({"10", "00"} <= set(wide.columns))
        and bool(np.array_equal(wide["10"][known], wide["00"][known]))
        if {"10", "00"} <= set(wide.columns)
        else False
    )
    moved = bool(np.any(wide["11"][known] != wide["00"][known]))
    estimates: list[tuple[Hashable, float, npt.NDArray[np.float64], int, int]] = []
    for place, name in enumerate(groups):
        here = known & (group == place)
        total = np.bincount(cluster[here], np.asarray(value)[here], minlength=weights.shape[1])
        count = np.bincount(cluster[here], minlength=weights.shape[1])
        drawn = (weights @ total) / np.maximum(weights @ count, 1)
        estimate = total.sum() / count.sum() if count.sum() else np.nan
        estimates.append((name, float(estimate), drawn, int(here.sum()), int((count > 0).sum())))
    for a, b in combinations(range(len(groups)), 2):
        (_, mean, one, n, m), (_, other_mean, other, other_n, other_m) = estimates[a], estimates[b]
        label = f"{groups[a]} - {groups[b]}"
        estimates.append((label, mean - other_mean, one - other, n + other_n, m + other_m))
    tail = (1 - level) / 2
    return [
        {
            **named,
            "group": name,
            "estimate": estimate,
            "lo": float(np.quantile(drawn, tail)),
            "hi": float(np.quantile(drawn, 1 - tail)),
            "n": n,
            "n_clusters": n_clusters,
            "cut": cut and moved,
        }
        for name, estimate, drawn, n, n_clusters in estimates
    ]
