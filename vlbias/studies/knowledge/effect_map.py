"""The map of a group of facts, and the contrast of two maps: shares of the total effect, with limits.

A record is what `vlbias.studies.knowledge.restoring` gives of one fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["CONTRAST", "EffectMap", "contrast_of", "traced_facts"]

Floats = NDArray[np.float64]
_SITE = ("part", "layer", "role")
_FACTS = ("sample_id", "subject", "group", "known", "left_out", "draws", "clean", "corrupted")
CONTRAST = [*_SITE, "first", "second", "difference", "lo", "hi", "p_adjusted"]
"""Columns of `contrast_of`."""


def traced_facts(samples: pd.DataFrame, records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row a fact: whether it is known, probabilities of its answer in the clean and corrupted worlds.

    Args:
        samples: With the columns sample_id, cluster (the subject) and group.
        records: Of each fact.
    """
    about = samples.set_index("sample_id")
    rows = [
        {
            "sample_id": one["id"],
            "subject": about.loc[one["id"], "cluster"],
            "group": about.loc[one["id"], "group"],
            **{name: one.get(name, np.nan) for name in _FACTS[3:]},
        }
        for one in records
    ]
    return pd.DataFrame(rows, columns=list(_FACTS))


@dataclass(frozen=True)
class EffectMap:
    """The map of one group, with the shares of each bootstrap draw.

    Args:
        total: Of the group: how many facts are known and traced, and the total effect, with limits.
        effects: One row a part, layer and role: effect of restoring, and its share of the total, with limits.
        drawn: Shares of each draw, [draws, sites]; sites are the rows of `effects`.
    """

    total: dict[str, Any]
    effects: pd.DataFrame
    drawn: Floats

    @classmethod
    def of(
        cls,
        group: str,
        facts: pd.DataFrame,
        records: Sequence[dict[str, Any]],
        draws: int,
        rng: np.random.Generator,
    ) -> EffectMap:
        """The map of a group.

        Args:
            group: Its name; "all" for all facts.
            facts: Of `traced_facts`.
            records: Of the facts.
            draws: Of the bootstrap over subjects.
            rng: For these.
        """
        inside = facts if group == "all" else facts[facts["group"] == group]
        traced = inside[inside["clean"].notna()]
        by_id = {one["id"]: one for one in records}
        sites = _sites(by_id[i] for i in traced["sample_id"])
        given = _given_back(traced, by_id, sites)
        lost = (traced["clean"] - traced["corrupted"]).to_numpy(float)
        weights = _weights(traced["subject"], draws, rng)
        present = ~np.isnan(given)
        value, weight = np.nan_to_num(given), present * lost[:, None]
        share = _ratio(value.sum(0), weight.sum(0))
        drawn = _ratio(weights @ value, weights @ weight)
        effects = pd.DataFrame(sites, columns=list(_SITE))
        effects.insert(0, "group", group)
        effects["n"] = present.sum(0)
        effects["effect"] = _ratio(value.sum(0), present.sum(0))
        effects["share"] = share
        effects["lo"], effects["hi"] = _limits(drawn)
        te = _ratio(weights @ lost, weights.sum(1))
        total = {
            "group": group,
            "facts": len(inside),
            "known": int(inside["known"].sum()),
            "traced": len(traced),
            "subjects": traced["subject"].nunique(),
            "clean": traced["clean"].mean(),
            "corrupted": traced["corrupted"].mean(),
            "total": lost.mean() if len(lost) else np.nan,
            "total_lo": np.quantile(te, 0.025) if len(lost) else np.nan,
            "total_hi": np.quantile(te, 0.975) if len(lost) else np.nan,
        }
        return cls(total, effects, drawn)


def _sites(records: Iterator[dict[str, Any]]) -> list[tuple[str, int, str]]:
    found: dict[tuple[str, int, str], None] = {}
    for one in records:
        for role, parts in one["restored"].items():
            for part, values in parts.items():
                found |= {(part, layer, role): None for layer in range(len(values))}
    return list(found)


def _given_back(
    traced: pd.DataFrame, by_id: dict[str, dict[str, Any]], sites: Sequence[tuple[str, int, str]]
) -> Floats:
    """Probability restored at each site less the corrupted one, [facts, sites]; NaN without the role."""
    given = np.full((len(traced), len(sites)), np.nan)
    for row, name in enumerate(traced["sample_id"]):
        one = by_id[name]
        for column, (part, layer, role) in enumerate(sites):
            if role in one["restored"]:
                given[row, column] = one["restored"][role][part][layer] - one["corrupted"]
    return given


def _weights(subjects: pd.Series, draws: int, rng: np.random.Generator) -> Floats:
    """How often each fact is drawn, [draws, facts]; facts of a subject are drawn together."""
    names, code = np.unique(subjects.to_numpy(str), return_inverse=True)
    if not len(names):
        return np.zeros((draws, 0))
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return times[:, code].astype(float)


def _ratio(over: Floats, under: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(under != 0, np.asarray(over) / np.asarray(under), np.nan)


def _limits(drawn: Floats) -> tuple[Floats, Floats]:
    if not drawn.size:
        empty = np.full(drawn.shape[1], np.nan)
        return empty, empty
    lo, hi = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    return lo, hi


def contrast_of(first: EffectMap, second: EffectMap) -> pd.DataFrame:
    """Differences of shares with limits for all sites together, by the largest |t| of the bootstrap.

    Args:
        first: Map of the facts of interest.
        second: Map of ordinary facts.
    """
    left, right = (one.effects.set_index(list(_SITE)) for one in (first, second))
    common = [site for site in left.index if site in right.index]
    place = (
        {site: n for n, site in enumerate(left.index)},
        {s: n for n, s in enumerate(right.index)},
    )
    drawn = (
        first.drawn[:, [place[0][s] for s in common]]
        - second.drawn[:, [place[1][s] for s in common]]
    )
    frame = pd.DataFrame(common, columns=list(_SITE))
    frame["first"] = left.loc[common, "share"].to_numpy(float)
    frame["second"] = right.loc[common, "share"].to_numpy(float)
    difference = (frame["first"] - frame["second"]).to_numpy(float)
    se = np.nanstd(drawn, axis=0, ddof=1) if len(common) else np.zeros(0)
    frame["difference"] = difference
    moves = se > 1e-12
    largest = np.nanmax(
        np.abs(drawn[:, moves] - difference[moves]) / se[moves], axis=1, initial=0.0
    )
    width = float(np.quantile(largest, 0.95)) * se
    frame["lo"], frame["hi"] = difference - width, difference + width
    size = np.divide(np.abs(difference), se, out=np.zeros_like(difference), where=moves)
    above = (largest[:, None] >= size[None, :]).sum(0)
    frame["p_adjusted"] = np.where(moves, (1 + above) / (1 + len(largest)), 1.0)
    return frame[CONTRAST]
