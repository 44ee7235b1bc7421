"""Gaps of whole curves: area under ROC of absent images between groups, and average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from vlbias.analysis.functionals import crossfit, standardised
from vlbias.analysis.inference import permutation_p
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.permutation import permuted_codes
from vlbias.analysis.rates import group_pairs

__all__ = ["CurveGaps", "ap_gaps", "auc_gaps"]


@dataclass(frozen=True, eq=False)
class CurveGaps:
    """Gaps per object and their sum with its permutation floor.

    Args:
        objects: Columns object, status, and per pair of groups `gap_A_B` and, where it is known, its
            standard error `se_A_B`.
        plugin: Sum over objects of absolute gaps, mean over pairs.
        floor: Its mean under permuted labels.
        p: Of the permutation test of no gap; studentised where standard errors are known, so that
            groups whose scores only vary more or less do not reject it.
        crossfit: Sum of gaps times cross-fitted signs, which noise does not inflate; NaN without
            standard errors.
        squared_floor: Sum of squared gaps minus its mean under permuted labels; around 0 without
            disparity.
    """

    objects: pd.DataFrame
    plugin: float
    floor: float
    p: float
    crossfit: float
    squared_floor: float


def _finish(
    panel: Panel,
    used: npt.NDArray[np.bool_],
    gaps: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64] | None = None,
) -> CurveGaps:
    """Table and test from gaps [1 + R, P, K], the observed ones first, and their standard errors."""
    table = pd.DataFrame({"object": list(panel.targets)})
    table["status"] = np.where(used, "ok", "insufficient")
    for place, (g, h) in enumerate(group_pairs(len(panel.groups))):
        pair = f"{panel.groups[g]}_{panel.groups[h]}"
        table[f"gap_{pair}"] = np.where(used, gaps[0, place], np.nan)
        if errors is not None:
            table[f"se_{pair}"] = np.where(used, errors[0, place], np.nan)
    if not used.any():
        return CurveGaps(table, np.nan, np.nan, np.nan, np.nan, np.nan)
    seen = gaps[..., used]
    size = np.abs(seen).mean(axis=1).sum(axis=1)
    squares = (seen**2).mean(axis=1).sum(axis=1)
    statistic, fitted = size, np.nan
    if errors is not None:
        spread = errors[..., used]
        statistic = (standardised(seen, spread) ** 2).mean(axis=1).sum(axis=1)
        fitted = float(crossfit(seen[0], spread[0]))
    return CurveGaps(
        table,
        float(size[0]),
        float(size[1:].mean()),
        permutation_p(float(statistic[0]), statistic[1:]),
        fitted,
        float(squares[0] - squares[1:].mean()),
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
    absent images are alike, ±1/2 where one group always scores higher. It does not depend on the
    scale of the scores. Standard errors after DeLong, DeLong and Clarke-Pearson (1988), eq. 3.

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
    errors = np.zeros_like(gaps)
    counts = np.stack([absent[own == g].sum(axis=0) for g in range(len(panel.groups))])
    used = np.asarray((counts >= min_count).all(axis=0))
    for column in np.flatnonzero(used):
        rows = absent[:, column]
        for place, (g, h) in enumerate(pairs):
            values, own_codes = array[rows, column], codes[:, rows]
            gaps[:, place, column] = _mann_whitney(values, own_codes, g, h)
            errors[:, place, column] = _delong(values, own_codes, g, h)
    return _finish(panel, used, gaps, errors)


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


def _delong(values: Floats, codes: npt.NDArray[np.int8], g: int, h: int) -> npt.NDArray[np.float64]:
    """[R] standard errors of P(g > h); ties are taken in the order of the rows."""
    sorted_codes = codes[:, np.argsort(values, kind="stable")]
    total = np.zeros(len(codes))
    for own, other in ((g, h), (h, g)):
        mine, others = sorted_codes == own, sorted_codes == other
        below = np.cumsum(others, axis=1, dtype=np.int64)
        count, size = mine.sum(axis=1), np.maximum(others.sum(axis=1), 1)
        mean = (mine * below).sum(axis=1) / np.maximum(count, 1)
        square = (mine * below**2).sum(axis=1) / np.maximum(count, 1)
        total += (square - mean**2) / size**2 / np.maximum(count - 1, 1)
    return np.asarray(np.sqrt(np.maximum(total, 0)))


def ap_gaps(
    panel: Panel,
    scores: npt.ArrayLike,
    *,
    min_present: int = 20,
    permutations: int = 200,
    rng: np.random.Generator,
) -> CurveGaps:
    """Gap of average precision of finding the images that show the object.

    Average precision depends on how frequent an object is. Images without it are weighted so that it
    is as frequent in every group as in all of them together: groups that differ in prevalence alone
    have no gap.

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
            odds = (~truth).sum() / truth.sum()
            ap = [_average_precision(truth[code == g], value[code == g], odds) for g in groups]
            gaps[draw, :, column] = [ap[g] - ap[h] for g, h in pairs]
    return _finish(panel, used, gaps)


def _average_precision(truth: npt.NDArray[np.bool_], value: Floats, odds: float) -> float:
    """With images without the object weighted to these odds against it."""
    if truth.all() or not truth.any():
        return float(truth.any())
    weight = np.where(truth, 1.0, odds * truth.sum() / (~truth).sum())
    return float(average_precision_score(truth, value, sample_weight=weight))
