"""Gaps that need no threshold: areas under the curve, order of scores between groups, precision.

Three different numbers of one object, of which none follows from another:

- `auc_gaps`: how much better the object is found in one group, AUC in A minus AUC in B.
- `superiority_gaps`: which group scores higher where the object is not, P(A > B) - 1/2.
- `ap_gaps`: average precision in A minus that in B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.functionals import crossfit, standardised
from vlbias.analysis.inference import permutation_p
from vlbias.analysis.mann_whitney import Areas, RankedScores
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.permutation import permuted_codes, permuted_within
from vlbias.analysis.rates import group_pairs
from vlbias.analysis.retention import precisions

__all__ = ["CurveGaps", "ap_gaps", "auc_gaps", "superiority_gaps"]

_BLOCK = 250
_NUMBERS = 8_000_000
"""Labels of a block, at most: an array of them takes 64 MB."""


@dataclass(frozen=True, eq=False)
class CurveGaps:
    """Gaps per object and their sum with its permutation floor.

    Args:
        objects: Columns object, status, and per pair of groups `gap_A_B` and, where it is known, its
            standard error `se_A_B`.
        plugin: Sum over objects of absolute gaps, mean over pairs.
        floor: Its mean under permuted labels.
        p: Of the permutation test of no gap; studentised where standard errors are known, so that
            groups whose scores only vary more or less do not reject it. NaN without permutations.
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


def superiority_gaps(
    panel: Panel,
    scores: npt.ArrayLike,
    *,
    min_count: int = 50,
    permutations: int = 500,
    rng: np.random.Generator,
) -> CurveGaps:
    """P(score of one group > score of the other) - 1/2 among the images without the object.

    The probability of superiority (Vargha & Delaney 2000; ties count half) less 1/2: 0 where scores
    of absent images are alike, 1/2 where the first group always scores higher. It does not depend on
    the scale of the scores. It is no difference of two areas under the curve, which `auc_gaps` is.

    Args:
        panel: Images, groups, presence.
        scores: [S, K]; rows with NaN in an object are left out for it.
        min_count: Images without the object needed in every group.
        permutations: Draws for floor and test.
        rng: Seeded generator.
    """
    array, present, own = _sorted(panel, panel.check_scores("scores", scores))
    codes = np.concatenate([own[None], permuted_codes(panel, permutations, rng)])
    absent = ~present & ~np.isnan(array)
    used = _counted(panel, own, [absent], min_count)
    groups = range(len(panel.groups))

    def areas(column: int, part: slice) -> list[Areas]:
        rows = np.flatnonzero(absent[:, column])
        ranked, code = RankedScores(array[rows, column]), codes[part][:, rows]
        found = [ranked.areas(code == g, code == h) for g, h in group_pairs(len(groups))]
        return [Areas(one.value - 0.5, _spread_out(one.influence, rows, own)) for one in found]

    return _studentised(panel, used, len(codes), areas)


def auc_gaps(
    panel: Panel,
    scores: npt.ArrayLike,
    *,
    min_present: int = 20,
    permutations: int = 500,
    rng: np.random.Generator,
) -> CurveGaps:
    """Area under the ROC curve of finding the object in one group minus that in the other.

    Labels are permuted among images that show the object and among those that do not, so that groups
    in which it is more or less frequent are no gap.

    Args:
        panel: Images, groups, presence.
        scores: [S, K]; rows with NaN in an object are left out for it.
        min_present: Images with and without the object needed in every group.
        permutations: Draws for floor and test.
        rng: Seeded generator.
    """
    array, present, own = _sorted(panel, panel.check_scores("scores", scores))
    seen = ~np.isnan(array)
    used = _counted(panel, own, [seen & present, seen & ~present], min_present)
    groups = range(len(panel.groups))
    drawn = permuted_within(panel, permutations, rng)

    def areas(column: int, part: slice) -> list[Areas]:
        rows = np.flatnonzero(seen[:, column])
        truth, ranked = present[rows, column], RankedScores(array[rows, column])
        code = drawn(rows, truth, part)
        single = [ranked.areas((code == g) & truth, (code == g) & ~truth) for g in groups]
        return [
            Areas(
                single[g].value - single[h].value,
                _spread_out(single[g].influence - single[h].influence, rows, own),
            )
            for g, h in group_pairs(len(groups))
        ]

    return _studentised(panel, used, permutations + 1, areas)


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
    is as frequent in every group as in all of them together. It also depends on how many images
    there are, so that labels are permuted among images that show the object and among those that do
    not: groups that differ in prevalence alone have no gap.

    Args:
        panel: Images, groups, presence.
        scores: [S, K]; rows with NaN in an object are left out for it.
        min_present: Images with and without the object needed in every group.
        permutations: Draws for floor and test.
        rng: Seeded generator.
    """
    array, present, own = _sorted(panel, panel.check_scores("scores", scores))
    seen = ~np.isnan(array)
    used = _counted(panel, own, [seen & present, seen & ~present], min_present)
    pairs = group_pairs(len(panel.groups))
    gaps = np.zeros((permutations + 1, len(pairs), len(panel.targets)))
    drawn = permuted_within(panel, permutations, rng)
    for column in np.flatnonzero(used):
        rows = np.flatnonzero(seen[:, column])
        truth, value = present[rows, column], array[rows, column]
        odds = (~truth).sum() / truth.sum()
        for part in _blocks(permutations + 1, len(panel)):
            code = drawn(rows, truth, part)
            found = []
            for g in range(len(panel.groups)):
                weight = (code == g).astype(np.float64)
                balance = odds * weight[0, truth].sum() / weight[0, ~truth].sum()
                weight[:, ~truth] *= balance
                found.append(precisions(truth[:, None], value[:, None], weight, least=1)[:, 0])
            gaps[part, :, column] = np.stack([found[g] - found[h] for g, h in pairs], axis=1)
    return _finish(panel, used, gaps)


def _sorted(
    panel: Panel, array: Floats
) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.int8]]:
    """Scores, presence and group codes in canonical order of rows."""
    order = panel.layout.order
    return array[order], panel.present[order], panel.code[order].astype(np.int8)


def _counted(
    panel: Panel,
    own: npt.NDArray[np.int8],
    flags: list[npt.NDArray[np.bool_]],
    least: int,
) -> npt.NDArray[np.bool_]:
    """[K] whether every group has enough images of every kind."""
    counts = [flag[own == g].sum(axis=0) for g in range(len(panel.groups)) for flag in flags]
    return np.asarray((np.stack(counts) >= least).all(axis=0))


def _spread_out(part: Floats, rows: npt.NDArray[np.intp], own: npt.NDArray[np.int8]) -> Floats:
    """[R, S] parts of all rows, 0 for those left out."""
    if len(rows) == len(own):
        return part
    whole = np.zeros((len(part), len(own)), part.dtype)
    whole[:, rows] = part
    return whole


def _blocks(draws: int, rows: int) -> Iterator[slice]:
    """Draws that are looked at together: an array of them has a bounded size."""
    block = max(1, min(_BLOCK, _NUMBERS // max(rows, 1)))
    for start in range(0, draws, block):
        yield slice(start, min(start + block, draws))


def _studentised(
    panel: Panel,
    used: npt.NDArray[np.bool_],
    draws: int,
    areas: Callable[[int, slice], list[Areas]],
) -> CurveGaps:
    """Gaps with standard errors over clusters, object by object and block by block."""
    pairs = len(group_pairs(len(panel.groups)))
    gaps, errors = np.zeros((2, draws, pairs, len(used)))
    layout = panel.layout
    cluster = panel.cluster_code[layout.order]
    by_cluster = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(cluster[by_cluster]) > 0])
    is_flat = len(starts) == len(cluster)
    for column in map(int, np.flatnonzero(used)):
        for part in _blocks(draws, len(cluster)):
            for place, one in enumerate(areas(column, part)):
                parts = one.influence
                if not is_flat:
                    parts = np.add.reduceat(parts[:, by_cluster], starts, axis=1)
                gaps[part, place, column] = one.value
                errors[part, place, column] = np.sqrt((parts**2).sum(axis=1))
    return _finish(panel, used, gaps, errors)


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
    is_drawn = len(gaps) > 1
    return CurveGaps(
        table,
        float(size[0]),
        float(size[1:].mean()) if is_drawn else np.nan,
        permutation_p(float(statistic[0]), statistic[1:]) if is_drawn else np.nan,
        fitted,
        float(squares[0] - squares[1:].mean()) if is_drawn else np.nan,
    )
