"""How good the boxes are that a detector found in each world, by COCO's average precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from vlbias.analysis.box_draws import box_precisions
from vlbias.analysis.boxes import average_precision
from vlbias.analysis.retention import image_weights
from vlbias.report.measured import PERSON, Numbers
from vlbias.stored_boxes import found_boxes, true_boxes

__all__ = ["found_in_worlds"]

_DRAWS = 200
Array = NDArray[np.float64]


def found_in_worlds(job: Numbers) -> pd.DataFrame:
    """One row a world: AP, AP50, AP75 and AR without `person`, AP of person, and AP by group.

    "AP_gap" is AP of the first group minus that of the second; "AP_gap_at_point" counts only boxes above
    the operating point's thresholds. Limits are quantiles over photos drawn anew, clusters whole.

    Returns:
        A frame without rows where the run kept no boxes.
    """
    if not job.run.manifest["study"].get("keep_boxes"):
        return pd.DataFrame()
    return pd.DataFrame([dict(_world(job, *place)) for place in job.places()])


def _world(job: Numbers, world: str, contrast: str, arm: str) -> Iterator[tuple[str, object]]:
    there = np.flatnonzero(~np.isnan(job.scores(contrast, arm)).all(axis=1))
    panel = job.panel.take(there)
    samples = panel.sample.tolist()
    weights = image_weights(panel, min(job.draws, _DRAWS), job.rng())
    truth = true_boxes(job.run.folder)
    found = found_boxes(job.run.folder, list(job.run.manifest["cells"]), contrast, "", arm)
    others = [name for name in job.run.targets if name != PERSON]
    drawn = box_precisions(truth, found, samples, others, weights)
    yield from {"world": world, "photos": len(samples)}.items()
    for name in ("AP", "AP50", "AR"):
        yield from _with_limits(name, drawn[name])
    yield "AP75", average_precision(truth, found, samples, others).ap75
    if PERSON in job.run.targets:
        yield "AP_person", average_precision(truth, found, samples, [PERSON]).ap
    if len(panel.groups) == 2:
        strict = found[found["score"] >= _least(job, found)]
        for boxes, place in ((found, ""), (strict, "_at_point")):
            one, other = (
                box_precisions(truth, boxes, samples, others, rows)["AP"]
                for rows in (weights * (panel.group == group) for group in panel.groups)
            )
            yield f"AP_{panel.groups[0]}{place}", one[0]
            yield f"AP_{panel.groups[1]}{place}", other[0]
            yield from _with_limits(f"AP_gap{place}", one - other)


def _with_limits(name: str, values: Array) -> Iterator[tuple[str, float]]:
    """The value as measured, and where 95 % of the draws lie."""
    yield name, float(values[0])
    drawn = values[1:][~np.isnan(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    yield f"{name}_lo", float(low)
    yield f"{name}_hi", float(high)


def _least(job: Numbers, found: pd.DataFrame) -> Array:
    """The least score of each box that is above its class's threshold, a log odds."""
    score = dict(zip(job.run.targets, expit(job.thresholds), strict=True))
    least: Array = found["target"].map(score).to_numpy(float)
    return least
