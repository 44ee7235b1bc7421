"""What the error of thresholds adds to limits, where a split of its own has set them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vlbias.analysis.inference import cluster_weights
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds

__all__ = ["moved_rates", "threshold_draws"]

_SPARE = 4  # a draw of clusters rarely needs more than so many times the images that pass


def threshold_draws(
    panel: Panel,
    scores: npt.ArrayLike,
    rule: str,
    *,
    fpr: float = 0.05,
    draws: int = 2000,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """[D, K] thresholds that the rule gives when the calibration clusters are drawn again.

    Args:
        panel: The calibration images.
        scores: [S, K] of them.
        rule: "count" or "fpr"; see `operating_point.calibrate`.
        fpr: Share for "fpr".
        draws: How often clusters are drawn with replacement.
        rng: Seeded generator.
    """
    array = panel.check_scores("calibration scores", scores)
    codes = panel.cluster_code
    weights = cluster_weights(int(codes.max()) + 1, draws, rng).astype(np.float32)[:, codes]
    found = np.full((draws, len(panel.targets)), np.inf)
    for column in range(len(panel.targets)):
        seen = ~np.isnan(array[:, column])
        present = panel.present[:, column]
        rows = np.flatnonzero(seen if rule == "count" else seen & ~present)
        if rule == "count":
            wanted = weights[:, np.flatnonzero(seen & present)].sum(axis=1)
        else:
            wanted = np.round(fpr * weights[:, rows].sum(axis=1))
        found[:, column] = _weighted(array[rows, column], weights, rows, wanted)
    return found


def _weighted(
    values: Floats, weights: Floats, rows: npt.NDArray[np.intp], wanted: Floats
) -> npt.NDArray[np.float64]:
    """[D] smallest score that no more than the wanted number [D] of drawn images reach."""
    if not len(values) or not wanted.max(initial=0):
        return np.full(len(wanted), np.inf)
    order = np.argsort(-values, kind="stable")[: int(_SPARE * wanted.max()) + 50]
    ranked = values[order]
    passed = np.cumsum(weights[:, rows[order]], axis=1)
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    passed = passed[:, ends]
    # a score that no drawn image has is no threshold that the rule could give
    last = (passed <= wanted[:, None]).sum(axis=1)
    reached = np.take_along_axis(
        np.concatenate([np.zeros((len(passed), 1), passed.dtype), passed], axis=1), last[:, None], 1
    )[:, 0]
    first = (passed < reached[:, None]).sum(axis=1)
    return np.where(last > 0, ranked[ends][np.minimum(first, len(ends) - 1)], np.inf)


def moved_rates(
    panel: Panel,
    scores: Floats,
    measure: Measure,
    thresholds: Thresholds,
    drawn: npt.NDArray[np.float64],
    objects: npt.NDArray[np.intp],
) -> npt.NDArray[np.float64]:
    """[D, k, K'] how much each group's rate is expected to change at drawn thresholds [D, K].

    A group's change is its share of the change over all images. The share is that of the images which pass at
    twice the rate but not at half of it, and not of the few between two thresholds: their sampling error is
    in the rates already.
    """
    own = panel.present == (measure == "tpr")
    found = np.zeros((len(drawn), len(panel.groups), len(objects)))
    for place, column in enumerate(objects):
        rows = own[:, column] & ~np.isnan(scores[:, column])
        limits = np.concatenate([[thresholds[column]], drawn[:, column]]).astype(scores.dtype)
        every = np.sort(scores[rows, column])
        above = _above(every, limits)
        window = _window(every, above[0])
        overall = np.diff(_above(every, window))[0]
        for g in range(len(panel.groups) if overall else 0):
            values = np.sort(scores[rows & (panel.code == g), column])
            share = np.diff(_above(values, window))[0] / overall
            found[:, g, place] = (above[1:] - above[0]) * share
    return found


def _above(values: Floats, limits: Floats) -> npt.NDArray[np.float64]:
    """[L] rate of sorted values at or above limits [L]."""
    return np.asarray(1 - np.searchsorted(values, limits, side="left") / max(len(values), 1))


def _window(values: Floats, rate: float) -> Floats:
    """[2] values that twice the rate and half of it reach; both ways from 1 for rates above one half."""
    near = min(rate, 1 - rate)
    ends = np.clip([rate - near / 2, rate + near], 0, 1)
    return np.asarray(np.quantile(values, 1 - ends)) if len(values) else np.zeros(2)
