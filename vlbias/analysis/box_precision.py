"""How good found boxes are: COCO's average precision, and matched boxes at an operating point."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.errors import BadTable, MissingExtra

__all__ = [
    "Precision",
    "average_precision",
    "coco_evaluation",
    "group_gap",
    "iou",
    "matched",
    "threshold_at",
]

CORNERS = ["x0", "y0", "x1", "y1"]


@dataclass(frozen=True)
class Precision:
    """COCO's summary of found boxes; NaN where there is nothing to find.

    Args:
        ap: Mean average precision over IoU 0.50 to 0.95.
        ap50: At IoU 0.50.
        ap75: At IoU 0.75.
        ar: Mean recall over IoU 0.50 to 0.95 with at most 100 boxes a photo.
        by_class: Class to its ap.
    """

    ap: float
    ap50: float
    ap75: float
    ar: float
    by_class: Mapping[str, float]


def average_precision(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    samples: Sequence[str],
    classes: Sequence[str],
) -> Precision:
    """COCO's AP, AP50, AP75 and AR of the found boxes, by pycocotools.

    Args:
        truth: Columns sample_id, target, x0, y0, x1, y1, crowd.
        found: Columns sample_id, target, score, x0, y0, x1, y1; at most 100 a photo count.
        samples: Photos that count, those without any box too.
        classes: Classes that count, for example all but "person".

    Raises:
        BadTable: if there is no photo or no class.
        MissingExtra: if pycocotools is not installed.
    """
    evaluated = _evaluate(truth, found, samples, classes)
    precision, recall = evaluated["precision"], evaluated["recall"]
    # axes: IoU 0.50:0.05:0.95, recall, class, area (all first), detections a photo (100 last)
    every, at50, at75 = (precision[part, :, :, 0, -1] for part in (slice(None), 0, 5))
    return Precision(
        ap=_mean(every),
        ap50=_mean(at50),
        ap75=_mean(at75),
        ar=_mean(recall[:, :, 0, -1]),
        by_class={name: _mean(every[:, :, k]) for k, name in enumerate(classes)},
    )


def _mean(values: NDArray[np.float64]) -> float:
    # COCO marks what has no true box with -1
    there = values[values > -1]
    return float(there.mean()) if there.size else float("nan")


def coco_evaluation(
    truth: pd.DataFrame, found: pd.DataFrame, samples: Sequence[str], classes: Sequence[str]
) -> Any:
    """Pycocotools' evaluation with every photo matched, not yet accumulated; arguments as above.

    Raises:
        BadTable: if there is no photo or no class.
        MissingExtra: if pycocotools is not installed.
    """
    if not samples or not classes:
        raise BadTable("average precision needs at least one photo and one class")
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingExtra("detection", "pycocotools") from error
    image = {name: number for number, name in enumerate(samples, start=1)}
    category = {name: number for number, name in enumerate(classes, start=1)}
    gold, guessed = COCO(), COCO()
    sets: list[tuple[Any, pd.DataFrame]] = [(gold, truth), (guessed, found)]
    with contextlib.redirect_stdout(io.StringIO()):
        for coco, frame in sets:
            coco.dataset = {
                "images": [{"id": number} for number in image.values()],
                "categories": [{"id": number} for number in category.values()],
                "annotations": _annotations(frame, image, category),
            }
            coco.createIndex()
        evaluation = COCOeval(gold, guessed, "bbox")
        evaluation.evaluate()
    return evaluation


def _evaluate(
    truth: pd.DataFrame, found: pd.DataFrame, samples: Sequence[str], classes: Sequence[str]
) -> Mapping[str, NDArray[np.float64]]:
    evaluation = coco_evaluation(truth, found, samples, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    result: Mapping[str, NDArray[np.float64]] = evaluation.eval
    return result


def _annotations(
    frame: pd.DataFrame, image: Mapping[str, int], category: Mapping[str, int]
) -> list[dict[str, Any]]:
    counted = frame[frame["sample_id"].isin(image) & frame["target"].isin(category)]
    corners = counted[CORNERS].to_numpy(np.float64)
    size = corners[:, 2:] - corners[:, :2]
    rows = zip(counted.to_dict("records"), corners[:, :2].tolist(), size.tolist(), strict=True)
    return [
        {
            "id": number,
            "image_id": image[row["sample_id"]],
            "category_id": category[row["target"]],
            "bbox": [*corner, *extent],
            "area": extent[0] * extent[1],
            "iscrowd": int(row.get("crowd", 0)),
            "score": float(row.get("score", 1.0)),
        }
        for number, (row, corner, extent) in enumerate(rows, start=1)
    ]


def group_gap(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    groups: Mapping[str, Sequence[str]],
    classes: Sequence[str],
) -> pd.DataFrame:
    """AP, AP50, AP75 and AR by group, and for two groups a row "gap": the first minus the second.

    Args:
        truth: As for `average_precision`.
        found: As for `average_precision`; give boxes above one threshold for a gap at an operating
            point.
        groups: Name to photos.
        classes: Classes that count.
    """
    rows = {}
    for name, samples in groups.items():
        one = average_precision(truth, found, samples, classes)
        rows[name] = {"ap": one.ap, "ap50": one.ap50, "ap75": one.ap75, "ar": one.ar}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    if len(rows) == 2:
        frame.loc["gap"] = frame.iloc[0] - frame.iloc[1]
    return frame


def iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union [n, m] of boxes [n, 4] and [m, 4]; 0 for boxes without area."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area = [
        np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (one, other)
    ]
    union = area[0][:, None] + area[1][None] - shared
    overlap: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return overlap


def matched(
    truth: pd.DataFrame, found: pd.DataFrame, *, threshold: float = 0.0, least: float = 0.5
) -> pd.DataFrame:
    """True positives, false positives and misses of each photo and class.

    Found boxes, best first, take the true box of their class that they overlap most and that is
    still free; without one they are false. Crowds are left out, and so are boxes found in them.

    Args:
        truth: As for `average_precision`.
        found: As for `average_precision`.
        threshold: Least score of a box that counts.
        least: Least intersection over union.

    Returns:
        Columns sample_id, target, tp, fp, fn; photos and classes without any box have no row.
    """
    kept = found[found["score"] >= threshold]
    guesses = dict(list(kept.groupby(["sample_id", "target"], observed=True)))
    gold = dict(list(truth.groupby(["sample_id", "target"], observed=True)))
    rows = []
    for key in sorted({*guesses, *gold}):
        true = gold.get(key, truth.iloc[:0])
        crowd = true["crowd"].to_numpy(bool)
        boxes = true[CORNERS].to_numpy(np.float64)
        guess = guesses.get(key, found.iloc[:0]).sort_values(
            "score", ascending=False, kind="stable"
        )
        hits, false = _greedy(guess[CORNERS].to_numpy(np.float64), boxes, crowd, least)
        rows.append((*key, hits, false, int((~crowd).sum()) - hits))
    return pd.DataFrame(rows, columns=["sample_id", "target", "tp", "fp", "fn"])


def _greedy(
    guess: NDArray[np.float64], true: NDArray[np.float64], crowd: NDArray[np.bool_], least: float
) -> tuple[int, int]:
    if not len(true):
        return 0, len(guess)
    overlap, free, hits, false = iou(guess, true), ~crowd, 0, 0
    for row in overlap:
        open_ = np.where(free, row, -1.0)
        best = int(open_.argmax())
        if open_[best] >= least:
            free[best] = False
            hits += 1
        elif not bool((row[crowd] >= least).any()):
            false += 1
    return hits, false


def threshold_at(
    truth: pd.DataFrame, found: pd.DataFrame, photos: int, *, per_photo: float, least: float = 0.5
) -> float:
    """The lowest score at which there are at most so many false boxes a photo.

    Two arms that are compared at such thresholds make equally many false boxes, so that a difference
    of their true ones is not one of how much they say.

    Args:
        truth: As for `average_precision`.
        found: As for `average_precision`.
        photos: How many there are, those without a box too.
        per_photo: False boxes a photo that are allowed.
        least: Least intersection over union of a true positive.

    Raises:
        BadTable: if there is no photo.
    """
    if photos < 1:
        raise BadTable("a threshold needs at least one photo")
    low, high = 0.0, float(np.nextafter(found["score"].max(), 2)) if len(found) else 1.0
    scores = np.unique(np.append(found["score"].to_numpy(np.float64), [low, high]))
    first, last = 0, len(scores) - 1
    while first < last:
        middle = (first + last) // 2
        made = matched(truth, found, threshold=float(scores[middle]), least=least)["fp"].sum()
        first, last = (first, middle) if made <= per_photo * photos else (middle + 1, last)
    return float(scores[first])
