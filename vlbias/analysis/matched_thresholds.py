"""Thresholds that make one arm as strict as another: with one shift for all classes, or class by class.

A detector that says "present" less often has smaller gaps at no merit of its own. An intervention is
therefore compared with the unchanged model at thresholds of equal strictness. One shift for all classes
does not see an intervention that makes only some classes stricter; class by class does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Rates, Thresholds, Window, measure_rates
from vlbias.errors import BadStudy

__all__ = [
    "matched_by_class",
    "matching_shift",
    "mean_fpr",
    "neighbours",
    "with_matching_error",
]


def mean_fpr(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds,
    objects: npt.NDArray[np.intp] | None = None,
) -> float:
    """Mean over objects of the false-positive rate of all groups together."""
    rates = measure_rates(panel, scores, "fpr", thresholds, objects=objects)
    count = rates.count.sum(axis=0)
    return float(((rates.value * rates.count).sum(axis=0) / np.maximum(count, 1)).mean())


def matching_shift(
    panel: Panel,
    y0: Floats,
    thresholds: Thresholds,
    target: float,
    objects: npt.NDArray[np.intp],
) -> float:
    """The shift of all thresholds at which the null arm has the mean FPR `target`.

    Raises:
        BadStudy: if no shift reaches it.
    """
    margin = y0[:, objects] - thresholds[objects]
    use = ~(panel.present[:, objects] | np.isnan(margin))
    weight = np.broadcast_to(1 / np.maximum(use.sum(axis=0), 1) / len(objects), use.shape)[use]
    if not 0 <= target <= 1 + 1e-9 or not use.any():
        raise BadStudy("mean FPR to match", target, "a rate that moving the thresholds can reach")
    order = np.argsort(-margin[use])
    sorted_margin = margin[use][order]
    # mean FPR when the first i entries pass, i = 0 ... all
    passed = np.concatenate([[0.0], np.cumsum(weight[order])])
    # a class that a detector did not find has the score -inf, which no shift can reach
    reached = int(np.isfinite(sorted_margin).sum())
    nearest = int(np.argmin(np.abs(passed[: reached + 1] - target)))
    above = sorted_margin[nearest - 1] if nearest else sorted_margin[0] + 2.0
    below = sorted_margin[nearest] if nearest < len(sorted_margin) else sorted_margin[-1] - 2.0
    if not reached:
        return 0.0  # no object was found at all: no threshold finds one
    return float((above + (below if np.isfinite(below) else above - 2.0)) / 2)


def matched_by_class(
    panel: Panel,
    y0: Floats,
    other: Floats,
    limits: Thresholds,
    objects: npt.NDArray[np.intp],
) -> Thresholds:
    """[K] thresholds at which the null arm has each class's false-positive rate of another arm.

    The rate is over the images of all groups without the object, on entries known in both arms. Where
    scores are tied, the reachable rate next to it is taken.

    Args:
        panel: Images, groups, presence.
        y0: [S, K] scores of the null arm.
        other: [S, K] scores of the arm to match.
        limits: [K] thresholds of that arm.
        objects: Columns to match; the others get infinite thresholds.
    """
    found = np.full(len(panel.targets), np.inf)
    for column in objects:
        absent = ~(panel.present[:, column] | np.isnan(y0[:, column]) | np.isnan(other[:, column]))
        wanted = int((other[absent, column] >= limits[column]).sum())
        found[column] = _passing(np.sort(y0[absent, column])[::-1].astype(np.float64), wanted)
    return found


def _passing(falling: npt.NDArray[np.float64], wanted: int) -> float:
    """The threshold that as many of the falling scores reach as is nearest to `wanted`."""
    reached = int(np.isfinite(falling).sum())  # no threshold finds what has the score -inf
    wanted = min(wanted, reached)
    if wanted == 0:
        return float("inf")
    score = falling[wanted - 1]
    above, at_least = (int(np.searchsorted(-falling, -score, side)) for side in ("left", "right"))
    if wanted - above < at_least - wanted:
        return float(falling[above - 1]) if above else float("inf")
    return float(score)


def neighbours(
    panel: Panel, y0: Floats, valid: npt.NDArray[np.bool_], rates: Rates, window: Window
) -> tuple[Thresholds, Thresholds]:
    """[K] thresholds with half as many, and half as many again, false positives as matched ones.

    Args:
        panel: Images, groups, presence.
        y0: [S, K] scores of the arm whose thresholds were matched.
        valid: [S, K] entries that are compared.
        rates: At the matched thresholds.
        window: Of the rates.
    """
    stricter, looser = (np.full(len(panel.targets), np.inf) for _ in range(2))
    events = (rates.value * rates.count).sum(axis=0)
    for column, count in zip(window.columns, events, strict=True):
        use = valid[:, column] & ~panel.present[:, column]
        falling = np.sort(y0[use, column])[::-1].astype(np.float64)
        half = int(np.ceil(count / 2))
        stricter[column] = _passing(falling, round(count) - half)
        looser[column] = _passing(falling, round(count) + max(half, 1))
    return stricter, looser


def with_matching_error(rates: Rates, target: Rates, stricter: Rates, looser: Rates) -> Rates:
    """Rates at matched thresholds, with the sampling error that the matching adds to their gap.

    The threshold moves with the pooled rates of both arms. Where the groups' rates rise unequally with a
    looser threshold, a moved threshold moves the gap (first-order delta method; the slopes are those
    between two neighbouring thresholds). Residuals of two groups carry this error exactly; of more
    groups they cannot, and rates come back as they are.

    Args:
        rates: Of the null arm at matched thresholds.
        target: Of the arm that was matched.
        stricter: Of the null arm at stricter thresholds.
        looser: Of the null arm at looser ones.
    """
    if len(rates.value) != 2:
        return rates
    slope = looser.value - stricter.value
    share = rates.count / np.maximum(rates.count.sum(axis=0), 1)
    pooled = (share * slope).sum(axis=0)
    tilt = np.divide(slope[0] - slope[1], pooled, out=np.zeros_like(pooled), where=pooled > 0)
    residual = rates.residual.copy()
    for group, sign in ((0, 1.0), (1, -1.0)):
        cells = rates.layout.spans[group]
        moved = target.residual[cells] - rates.residual[cells]
        residual[cells] += (sign * tilt * share[group]).astype(residual.dtype) * moved
    return replace(rates, residual=residual)
