"""What a change costs: performance before and after, paired over images, with a margin.

Every statistic is recomputed as a whole under resampled weights of images: average precision is no
mean over images, so that its draws cannot be had from per-image parts. The galleries of retrieval
are kept as they are: a resampled gallery would hold the same photo twice, and ties with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlbias.analysis.inference import check_level, cluster_weights, interval
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import group_pairs
from vlbias.errors import BadTable

__all__ = [
    "Comparison",
    "compare_retention",
    "group_auc",
    "image_weights",
    "limits",
    "mean_precision",
    "precision_gap",
    "precisions",
    "recalls",
    "worst",
]

Verdict = Literal["kept", "lost", "not shown", ""]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A statistic before and after, and its change with limits.

    Args:
        before: Without the mitigation.
        after: With it.
        change: after - before.
        lo: Lower limit of the change.
        hi: Upper limit.
        margin: The largest loss that still counts as kept; NaN where nothing is to be kept.
        verdict: "kept" if the loss is shown to be smaller than the margin, "lost" if it is shown to
            be larger, "not shown" otherwise; empty without a margin, and where the statistic before is
            not larger than it: whatever happened could not be a loss.
    """

    before: float
    after: float
    change: float
    lo: float
    hi: float
    margin: float
    verdict: Verdict


def image_weights(panel: Panel, draws: int, rng: np.random.Generator) -> Array:
    """[1 + D, S] how often each image counts: once in the first row, then as clusters are drawn."""
    codes = panel.cluster_code
    drawn = cluster_weights(int(codes.max()) + 1, draws, rng)[:, codes]
    return np.concatenate([np.ones((1, len(panel))), drawn])


def precisions(
    present: npt.NDArray[np.bool_], scores: Floats, weights: Array, least: int = 3
) -> Array:
    """[W, K] average precision of every class under every row of weights.

    As scikit-learn's `average_precision_score`, equal scores being one step. NaN for a class with
    fewer than `least` images with or without it, and where a draw holds none that shows it.

    Args:
        present: [S, K].
        scores: [S, K] without NaN.
        weights: [W, S] from `image_weights`.
        least: Images with and without the class that it needs.
    """
    found = np.full((len(weights), present.shape[1]), np.nan)
    counts = weights.astype(np.float32)  # whole numbers far below 2^24 are exact
    for column in range(present.shape[1]):
        truth = present[:, column]
        if not least <= truth.sum() <= len(truth) - least:
            continue
        value = scores[:, column]
        # how much has passed where each image that shows the class is reached, equal scores together
        above = (value[:, None] >= value[truth]).astype(counts.dtype)
        own = counts[:, truth]
        passed, reached = (counts @ above).astype(np.float64), own @ above[truth]
        total = own.sum(axis=1, dtype=np.float64)
        share = np.divide(reached, passed, out=np.zeros_like(passed), where=passed > 0)
        gained = (own * share).sum(axis=1)
        found[:, column] = np.divide(
            gained, total, out=np.full(len(total), np.nan), where=total > 0
        )
    return found


def mean_precision(by_class: Array, columns: npt.NDArray[np.intp]) -> Array:
    """[W] mean over the classes of `precisions` that have one in that draw.

    Raises:
        BadTable: if no class has one on the images as they are.
    """
    chosen = by_class[:, columns]
    there = ~np.isnan(chosen)
    if not there[0].any():
        raise BadTable(
            "average precision: no class has 3 images with and 3 without it; take more photos"
        )
    return _mean_of(chosen)


def _mean_of(values: Array) -> Array:
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0))


def precision_gap(
    panel: Panel, scores: Floats, weights: Array, columns: npt.NDArray[np.intp]
) -> Array:
    """[W] mean over classes of the first group's AP minus the second's, mean over pairs of groups.

    NaN where no class has 3 images with and without it in both groups.
    """
    parts = []
    for g, h in group_pairs(len(panel.groups)):
        one, other = (
            precisions(panel.present[rows][:, columns], scores[rows][:, columns], weights[:, rows])
            for rows in (np.flatnonzero(panel.code == g), np.flatnonzero(panel.code == h))
        )
        parts.append(_mean_of(one - other))
    return np.asarray(np.mean(parts, axis=0))


def recalls(ranks: Floats, weights: Array, tops: tuple[int, ...] = (1, 5, 10)) -> dict[int, Array]:
    """Each k with the [W] shares of queries whose own partner is among the first k.

    Args:
        ranks: [S] rank of the own partner, 1 is first.
        weights: [W, S].
        tops: Values of k.
    """
    total = weights.sum(axis=1)
    return {k: np.asarray(weights @ (ranks <= k) / total) for k in tops}


def group_auc(score: Floats, own: npt.NDArray[np.bool_], weights: Array) -> Array:
    """[W] how often an image of the group scores above one of the others; ties count half.

    Args:
        score: [S] for example the query "a man" minus the query "a woman".
        own: [S] whether an image is of the group.
        weights: [W, S].
    """
    order = np.argsort(score, kind="stable")
    value = score[order]
    counted = weights[:, order]
    mine, others = counted * own[order], counted * ~own[order]
    below = np.concatenate([np.zeros((len(weights), 1)), others.cumsum(axis=1)], axis=1)
    first = np.searchsorted(value, value, side="left")
    end = np.searchsorted(value, value, side="right")
    wins = (mine * (below[:, first] + below[:, end]) / 2).sum(axis=1)
    pairs = mine.sum(axis=1) * others.sum(axis=1)
    return np.asarray(np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def compare_retention(
    before: Array, after: Array, *, margin: float = float("nan"), level: float = 0.95
) -> Comparison:
    """A statistic before and after, from its values under the same weights.

    Args:
        before: [1 + D] from one of this module's statistics; the first is the estimate.
        after: [1 + D] the same, mitigated, under the same weights.
        margin: See `Comparison`.
        level: Of the limits of the change; see `limits`.
    """
    change = after - before
    lo, hi = limits(change, level)
    verdict: Verdict = ""
    if before[0] > margin:
        verdict = "kept" if lo > -margin else "lost" if hi < -margin else "not shown"
    return Comparison(float(before[0]), float(after[0]), float(change[0]), lo, hi, margin, verdict)


def limits(values: Array, level: float = 0.95) -> tuple[float, float]:
    """Normal limits of a statistic from its draws; NaN where no draw has one.

    Quantiles of the draws are no limits of an average precision: a photo drawn twice is found twice, so
    that draws lie above the estimate, at a few hundred photos by as much as the limits are wide. These
    enclose the statistic expected of as many photos; that of more photos is lower.

    Args:
        values: [1 + D] from one of this module's statistics; the first is the estimate.
        level: Of the limits.
    """
    drawn = values[1:][~np.isnan(values[1:])]
    if not len(drawn):
        check_level(level)
        return float("nan"), float("nan")
    found = interval(float(values[0]), drawn[None], level)
    return found.lo, found.hi


def worst(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict of several: lost if any is, kept only if all are."""
    given = [verdict for verdict in verdicts.values() if verdict]
    if "lost" in given:
        return "lost"
    return "not shown" if not given or "not shown" in given else "kept"
