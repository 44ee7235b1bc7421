"""Comprehension from edits of items: whether answers follow the meaning or the form.

After Han et al. (ICLR 2025). Two arms edit an item by the same amount: one changes its meaning, with the
form (deep), the other its form alone (surface). All quantities are means over items.

    TE            of items answered correctly, share of deep edits after which the answer is not the old one
    AICE          the same of surface edits
    ADCE          TE - AICE, as published
    unconditioned over all items, right or wrong: share of deep edits that change the answer, less the share of
                  surface edits that do

ADCE and AICE are taken of items answered correctly. Items that are answered from their meaning are answered
correctly more often, so that ADCE is too large by as much as they are over-represented: in the simulator of
the tests it reads .543 where the truth is .300. The unconditioned contrast has no such bias. Both need edits
of equal size in the two arms, which `edit_sizes` compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from vlbias.analysis.inference import bootstrap_t, check_level, cluster_weights, student
from vlbias.errors import BadStudy

__all__ = ["ITEM_COLUMNS", "EditSizes", "edit_effects", "edit_sizes", "item_means"]

Floats = NDArray[np.float64]
ITEM_COLUMNS = (
    "cluster",
    "correct",
    "deep_changed",
    "surface_changed",
    "deep_lost",
    "surface_lost",
)


@dataclass(frozen=True)
class EditSizes:
    """Mean size of the edits of both arms, and their paired difference with limits.

    Args:
        deep: Mean size.
        surface: Mean size.
        difference: Deep less surface.
        lo: Lower limit.
        hi: Upper limit.
        matched: Whether the limits hold 0, or the difference is below 5 % of the mean size.
    """

    deep: float
    surface: float
    difference: float
    lo: float
    hi: float
    matched: bool


def item_means(answers: pd.DataFrame) -> pd.DataFrame:
    """One row an item whose original was answered: whether right, and how answers changed, by arm.

    Args:
        answers: Columns item, cluster, world ("original", "deep" or "surface"), answer, gold, status ("ok" or
            why there is no answer). Answers that are not "ok" are left out, never counted as changed.

    Returns:
        Index item; `ITEM_COLUMNS`: correct is NaN where no answer is right; changed is the share of variants
        whose answer is not that of the original, lost of those whose answer is not the right one of the
        original; NaN where an arm has no answer.
    """
    said = answers[answers["status"] == "ok"]
    original = said[said["world"] == "original"].set_index("item")
    frame = pd.DataFrame(
        {
            "cluster": original["cluster"],
            "correct": (original["answer"] == original["gold"])
            .astype(float)
            .where(original["gold"] != ""),
        }
    )
    for arm in ("deep", "surface"):
        part = said[(said["world"] == arm) & said["item"].isin(original.index)]
        first = part["item"].map(original["answer"])
        gold = part["item"].map(original["gold"])
        for name, other in (("changed", first), ("lost", gold)):
            share = (part["answer"] != other).groupby(part["item"]).mean()
            frame[f"{arm}_{name}"] = share.reindex(frame.index).astype(float)
    return frame[list(ITEM_COLUMNS)]


def edit_effects(
    items: pd.DataFrame, *, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Accuracy, the unconditioned contrast, ADCE, AICE, TE, PN and PS, each with limits.

    Limits are those of the studentised mean over clusters drawn with replacement (Efron 1981); of PN and PS
    percentiles. Where no item differs from another, resampling knows no error: then Wilson's limits are
    given, at twice their distance for a contrast, which may move by 2. PN = ADCE / TE and PS = ADCE / (1 -
    AICE) are the probabilities of necessity and sufficiency if the meaning is exogenous and its effect
    monotone, and 0 where the ratio is below (Tian & Pearl 2000). Where limits of the denominator hold 0,
    the ratio has no bounded limits and is NaN.

    Args:
        items: From `item_means`.
        draws: Draws.
        seed: Of the draws.
        level: Coverage wanted.

    Returns:
        Columns quantity, estimate, lo, hi, items, clusters.

    Raises:
        BadStudy: if there is no item.
    """
    if items.empty:
        raise BadStudy("items", 0, "one answered item or more: there is nothing to estimate")
    code = np.unique(items["cluster"].astype(str), return_inverse=True)[1]
    clusters = int(code.max()) + 1
    weights = cluster_weights(clusters, draws, np.random.default_rng(seed))
    sums = _sums(items, code, clusters)
    rows = []
    for name, (total, count) in sums.items():
        estimate, lo, hi = _mean_limits(name, total, count, weights, level)
        row = {"quantity": name, "estimate": estimate, "lo": lo, "hi": hi}
        rows.append({**row, "items": int(count.sum())})
    for name in ("PN", "PS"):
        value = _ratio(
            name, {key: np.array([pair[0].sum(), pair[1].sum()]) for key, pair in sums.items()}
        )
        drawn = _ratio(
            name, {key: np.stack([weights @ part for part in pair]) for key, pair in sums.items()}
        )
        tail = (1 - check_level(level)) / 2
        limits = [np.nan, np.nan]
        if _clear_of_zero(name, rows) and np.isfinite(drawn).all():
            limits = np.quantile(drawn, [tail, 1 - tail]).tolist()
        else:
            value = np.full((), np.nan)
        row = {"quantity": name, "estimate": float(value), "lo": limits[0], "hi": limits[1]}
        rows.append({**row, "items": int(sums["TE"][1].sum())})
    return pd.DataFrame(rows).assign(clusters=clusters)


def _sums(
    items: pd.DataFrame, code: NDArray[np.intp], clusters: int
) -> dict[str, tuple[Floats, NDArray[np.intp]]]:
    """Of each mean the sums and counts of clusters."""
    both = items[["deep_changed", "surface_changed"]].notna().all(axis=1).to_numpy()
    right = items["correct"].eq(1).to_numpy() & both
    known = items["correct"].notna().to_numpy()
    parts = {
        "accuracy": (items["correct"].astype(float), known),
        "unconditioned": (items["deep_changed"] - items["surface_changed"], both),
        "ADCE": (items["deep_lost"] - items["surface_lost"], right),
        "AICE": (items["surface_lost"], right),
        "TE": (items["deep_lost"], right),
    }
    return {
        name: (
            np.bincount(code, np.where(where, values.to_numpy(float), 0.0), clusters).astype(float),
            np.bincount(code[where], minlength=clusters),
        )
        for name, (values, where) in parts.items()
    }


def _mean_limits(
    name: str, total: Floats, count: NDArray[np.intp], weights: Floats, level: float
) -> tuple[float, float, float]:
    """A mean with its limits."""
    known = np.count_nonzero(count)
    if not known:
        return np.nan, np.nan, np.nan
    found = bootstrap_t(total, count, weights, level)
    if found.se > 0 and np.isfinite(found.se):
        return found.estimate, found.lo, found.hi
    contrast = name in ("unconditioned", "ADCE")
    share = abs(found.estimate)
    lo, hi = proportion_confint(round(share * known), known, 1 - level, "wilson")
    reach = max(share - lo, hi - share) * (2 if contrast else 1)
    least = -1.0 if contrast else 0.0
    return found.estimate, max(found.estimate - reach, least), min(found.estimate + reach, 1.0)


def _clear_of_zero(name: str, rows: list[dict[str, Any]]) -> bool:
    """Whether limits of the denominator of PN or PS leave 0 out."""
    te, aice = (next(row for row in rows if row["quantity"] == key) for key in ("TE", "AICE"))
    return bool(te["lo"] > 0 if name == "PN" else aice["hi"] < 1)


def _ratio(name: str, sums: dict[str, Floats]) -> Floats:
    """PN or PS from sums and counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        adce, aice, te = (sums[key][0] / sums[key][1] for key in ("ADCE", "AICE", "TE"))
        found: Floats = adce / (te if name == "PN" else 1 - aice)
    return np.clip(found, 0.0, 1.0)


def edit_sizes(
    deep: Sequence[float] | Floats, surface: Sequence[float] | Floats, level: float = 0.95
) -> EditSizes:
    """Whether the edits of both arms are of equal size: a paired comparison over items.

    Args:
        deep: [N] mean size of each item's deep edits.
        surface: [N] mean size of its surface edits.
        level: Of the limits (Student).

    Raises:
        BadStudy: if there is no item, or the arms have different numbers of them.
    """
    one, other = np.asarray(deep, float), np.asarray(surface, float)
    if not len(one) or one.shape != other.shape:
        raise BadStudy("sizes", (one.shape, other.shape), "as many deep sizes as surface sizes")
    found = student(one - other, np.ones(len(one), dtype=np.intp), level)
    typical = (one.mean() + other.mean()) / 2
    small = abs(found.estimate) <= 0.05 * typical
    matched = bool(found.lo <= 0 <= found.hi or small)
    return EditSizes(
        float(one.mean()), float(other.mean()), found.estimate, found.lo, found.hi, matched
    )
