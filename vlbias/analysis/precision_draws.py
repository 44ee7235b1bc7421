"""COCO's average precision under resampled photos: matched once, the whole curve drawn anew.

Which found box matches which true one does not depend on other photos, so that a draw only weighs
the matches; precision, its envelope and the 101 recall levels are computed for every draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.box_precision import coco_evaluation
from vlbias.errors import BadTable

__all__ = ["box_precisions"]

Array = npt.NDArray[np.float64]
_LEVELS = 101


def box_precisions(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    samples: Sequence[str],
    classes: Sequence[str],
    weights: Array,
) -> dict[str, Array]:
    """AP, AP50, AP75 and AR, each [W], of every row of weights.

    Rows of ones give what `box_precision.average_precision` gives.

    Args:
        truth: As for `box_precision.average_precision`.
        found: As there.
        samples: Photos that count, S.
        classes: Classes that count.
        weights: [W, S] how often each photo counts, for example of `retention.image_weights`.

    Raises:
        BadTable: if there is no photo, no class, or the weights are of other photos.
        MissingExtra: if pycocotools is not installed.
    """
    if weights.shape[1] != len(samples):
        raise BadTable(f"{weights.shape[1]} weights for {len(samples)} photos")
    evaluation = coco_evaluation(truth, found, samples, classes)
    photos, areas = len(samples), len(evaluation.params.areaRng)
    ap, recall = [], []
    for number in range(len(classes)):
        start = number * areas * photos  # all areas first
        images = evaluation.evalImgs[start : start + photos]
        one = _class(images, weights)
        ap.append(one[0])
        recall.append(one[1])
    precision, reached = np.stack(ap), np.stack(recall)  # [K, W, T]
    return {
        "AP": _mean(precision.mean(axis=2)),
        "AP50": _mean(precision[:, :, 0]),
        "AP75": _mean(precision[:, :, 5]),
        "AR": _mean(reached.mean(axis=2)),
    }


def _class(
    images: Sequence[dict[str, npt.NDArray[np.float64]] | None], weights: Array
) -> tuple[Array, Array]:
    """[W, T] AP and recall of one class at every IoU; NaN where no photo shows it."""
    there = [(i, image) for i, image in enumerate(images) if image is not None]
    steps = 10
    empty = np.full((len(weights), steps), np.nan)
    if not there:
        return empty, empty
    gold = np.array([int((np.asarray(image["gtIgnore"]) == 0).sum()) for _, image in there])
    owner = np.array([i for i, _ in there])
    total = weights[:, owner] @ gold
    score = np.concatenate([np.asarray(image["dtScores"], float)[:100] for _, image in there])
    order = np.argsort(-score, kind="mergesort")
    photo = np.concatenate([np.full(len(image["dtScores"][:100]), i) for i, image in there]).astype(
        int
    )[order]
    matched = (
        np.concatenate([image["dtMatches"][:, :100] for _, image in there], axis=1)[:, order] > 0
    )
    ignored = (
        np.concatenate([image["dtIgnore"][:, :100] for _, image in there], axis=1)[:, order] > 0
    )
    counted = weights[:, None, photo]  # [W, 1, N]
    right = (counted * (matched & ~ignored)).cumsum(axis=2)
    wrong = (counted * (~matched & ~ignored)).cumsum(axis=2)
    some = total > 0
    reached = right / np.where(some, total, 1.0)[:, None, None]
    precision = right / np.maximum(right + wrong, np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    # a level of recall reads the first place that reaches it
    levels = np.floor(reached * (_LEVELS - 1) + 1e-9) + 1
    passed = np.diff(levels, axis=2, prepend=0.0)
    if passed.shape[2]:
        # nothing has passed level 0 before the first place
        ap, recall = (passed * envelope).sum(axis=2) / _LEVELS, reached[:, :, -1]
    else:
        ap = recall = np.zeros_like(empty)
    gone = ~some[:, None]
    return np.where(gone, np.nan, ap), np.where(gone, np.nan, recall)


def _mean(by_class: Array) -> Array:
    """[W] mean over the classes that a draw has; [K, W]."""
    there = ~np.isnan(by_class)
    count = there.sum(axis=0)
    total = np.where(there, by_class, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
