"""Effects on the mean of an outcome, with intervals over clusters."""

from __future__ import annotations

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
        by: Column whose values are groups; None for no groups.
        draws: Bootstrap draws, shared by all rows, so that they can be compared.
        rng: Seeded generator.
        level: Of the intervals.

    Returns:
        One row per contrast, mediator, outcome, target, effect and group; with two or more groups also
        the differences "a - b".

    Raises:
        MissingArms: if a mediator lacks an arm.
    """
    if draws < 1:
        raise BadTable(f"draws {draws}: expected at least 1")
    clusters, cluster = np.unique(arms["cluster"].to_numpy(str), return_inverse=True)
    weights = rng.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), size=draws)
    groups = ["all"] if by is None else sorted(arms[by].unique())
    label = np.full(len(arms), "all") if by is None else arms[by].to_numpy(str)
    arms = arms.assign(_cluster=cluster, _group=label)
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


def _rows(
    wide: pd.DataFrame,
    effect: str,
    terms: dict[str, float],
    groups: list[str],
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
    estimates: dict[str, tuple[float, npt.NDArray[np.float64], int, int]] = {}
    for name in groups:
        here = known & (group == name)
        total = np.bincount(cluster[here], np.asarray(value)[here], minlength=weights.shape[1])
        count = np.bincount(cluster[here], minlength=weights.shape[1])
        drawn = (weights @ total) / np.maximum(weights @ count, 1)
        estimate = total.sum() / count.sum() if count.sum() else np.nan
        estimates[name] = (float(estimate), drawn, int(here.sum()), int((count > 0).sum()))
    for a, b in combinations(groups, 2):
        one, other = estimates[a], estimates[b]
        estimates[f"{a} - {b}"] = (
            one[0] - other[0], one[1] - other[1], one[2] + other[2], one[3] + other[3]
        )  # fmt: skip
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
        for name, (estimate, drawn, n, n_clusters) in estimates.items()
    ]
