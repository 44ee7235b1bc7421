"""Gaps of whole curves: area under ROC of absent images between groups, and average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from vlbias.analysis.inference import permutation_p
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.permutation import permuted_codes
from vlbias.analysis.rates import group_pairs

__all__ = ["CurveGaps", "ap_gaps", "auc_gaps"]


@dataclass(frozen=True, eq=False)
class CurveGaps:
    """Gaps per object and their sum with its permutation floor.

    Args:
        objects: Columns object, status, and one `gap_A_B` per pair of groups.
        plugin: Sum over objects of absolute gaps, mean over pairs.
        floor: Its mean under permuted labels.
        p: Of the permutation test.
        squared_floor: Sum of squared gaps minus its mean under permuted labels; around 0 without
            disparity.
    """

    objects: pd.DataFrame
    plugin: float
    floor: float
    p: float
    squared_floor: float


def _finish(
    panel: Panel,
    used: npt.NDArray[np.bool_],
    gaps: npt.NDArray[np.float64],
    drawn: npt.NDArray[np.float64],
) -> CurveGaps:
    """Table and test from gaps [P, K] and drawn gaps [R, P, K]."""
    table = pd.DataFrame({"object": list(panel.targets)})
    table["status"] = np.where(used, "ok", "insufficient")
    for (g, h), row in zip(group_pairs(len(panel.groups)), gaps, strict=True):
        table[f"gap_{panel.groups[g]}_{panel.groups[h]}"] = np.where(used, row, np.nan)
    if not used.any():
        return CurveGaps(table, np.nan, np.nan, np.nan, np.nan)
    seen, floor = gaps[:, used], drawn[..., used]
    total = float(np.abs(seen).mean(axis=0).sum())
    null = np.abs(floor).mean(axis=1).sum(axis=1)
    squares = (floor**2).mean(axis=1).sum(axis=1)
    return CurveGaps(
        table,
        total,
        float(null.mean()),
        permutation_p(total, null),
        float((seen**2).mean(axis=0).sum() - squares.mean()),
    )


def auc_gaps(
    panel: Panel,
    scores: npt.ArrayLike,
    *,
    min_count: int = 50,
    permutations: int = 500,
    rng: np.random.Generator,
) -> CurveGaps:
    """Threshold-free gap: P(score of one group > score of the other), images without the object.

    The gap of an object is that probability (ties count half) minus 1/2: 0 where the scores of
    absent images are alike, ±1/2 where one group always scores higher.

    Args:
        panel: Images, groups, presence.
        scores: [S, K].
        min_count: Images without the object needed in every group.
        permutations: Draws for floor and test.
        rng: Seeded generator.
    """
    array = panel.check_scores("scores", scores)[panel.layout.order]
    absent = ~panel.present[panel.layout.order] & ~np.isnan(array)
    own = panel.code[panel.layout.order].astype(np.int8)
    codes = np.concatenate([own[None], permuted_codes(panel, permutations, rng)])
    pairs = group_pairs(len(panel.groups))
    gaps = np.zeros((len(codes), len(pairs), len(panel.targets)))
    counts = np.stack([absent[own == g].sum(axis=0) for g in range(len(panel.groups))])
    used = np.asarray((counts >= min_count).all(axis=0))
    for column in np.flatnonzero(used):
        rows = absent[:, column]
        for place, (g, h) in enumerate(pairs):
            gaps[:, place, column] = _mann_whitney(array[rows, column], codes[:, rows], g, h)
    return _finish(panel, used, gaps[0], gaps[1:])


def _mann_whitney(
    values: Floats, codes: npt.NDArray[np.int8], g: int, h: int
) -> npt.NDArray[np.float64]:
    """[R] P(g > h) - 1/2 for each row of codes [R, n]."""
    first, second = codes == g, codes == h
    if codes.max(initial=0) <= 1:
        rank = np.broadcast_to(rankdata(values), codes.shape)
        total = (first * rank).sum(axis=1)
    else:
        # only images of the two groups are ranked against each other
        total = np.array(
            [rankdata(values[a | b])[a[a | b]].sum() for a, b in zip(first, second, strict=True)]
        )
    n, m = first.sum(axis=1), second.sum(axis=1)
    wins = total - n * (n + 1) / 2
    return np.asarray(wins / np.maximum(n * m, 1) - 0.5)


def ap_gaps(
    panel: Panel,
    scores: npt.ArrayLike,
    *,
    min_present: int = 20,
    permutations: int = 200,
    rng: np.random.Generator,
) -> CurveGaps:
    """Gap of average precision of finding the images that show the object.

    Average precision depends on how frequent an object is, so that groups with different
    prevalence differ without any bias of the scores; read it beside the AUC gap.

    Args:
        panel: Images, groups, presence.
        scores: [S, K]; rows with NaN in an object are left out for it.
        min_present: Images with and without the object needed in every group.
        permutations: Draws for floor and test.
        rng: Seeded generator.
    """
    array = panel.check_scores("scores", scores)[panel.layout.order]
    present = panel.present[panel.layout.order]
    seen = ~np.isnan(array)
    own = panel.code[panel.layout.order].astype(np.int8)
    groups = range(len(panel.groups))
    counts = np.stack(
        [
            ((own == g)[:, None] & seen & flag).sum(axis=0)
            for g in groups
            for flag in (present, ~present)
        ]
    )
    used = np.asarray((counts >= min_present).all(axis=0))
    codes = np.concatenate([own[None], permuted_codes(panel, permutations, rng)])
    pairs = group_pairs(len(panel.groups))
    gaps = np.zeros((len(codes), len(pairs), len(panel.targets)))
    for column in np.flatnonzero(used):
        rows = seen[:, column]
        truth, value = present[rows, column], array[rows, column]
        for draw, code in enumerate(codes[:, rows]):
            ap = [_average_precision(truth[code == g], value[code == g]) for g in groups]
            gaps[draw, :, column] = [ap[g] - ap[h] for g, h in pairs]
    return _finish(panel, used, gaps[0], gaps[1:])


def _average_precision(truth: npt.NDArray[np.bool_], value: Floats) -> float:
    return float(average_precision_score(truth, value)) if truth.any() else 0.0
