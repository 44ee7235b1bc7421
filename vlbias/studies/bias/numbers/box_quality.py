"""How good the boxes are that a detector found in each world, by COCO's average precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from vlbias.analysis.box_precision import average_precision
from vlbias.analysis.inference import permutation_p
from vlbias.analysis.panel import Panel
from vlbias.analysis.permutation import permuted_codes
from vlbias.analysis.precision_draws import box_precisions
from vlbias.analysis.retention import image_weights, limits
from vlbias.store.boxes import found_boxes, true_boxes
from vlbias.studies.photos.scores import PERSON, PresenceScores

__all__ = ["box_quality"]

_DRAWS = 200
Array = NDArray[np.float64]


def box_quality(job: PresenceScores) -> pd.DataFrame:
    """One row a world: AP, AP50, AP75 and AR without `person`, AP of person, and AP by group.

    "AP_gap" is AP of the first group minus that of the second; "AP_gap_at_point" counts only boxes above
    the operating point's thresholds. The smaller group's AP is the larger by its size alone (fewer photos,
    fewer chances to be wrong above a hit): "AP_gap_shuffled" is the mean gap of shuffled groups of the
    same sizes, "AP_gap_p" the share of them whose gap lies as far from that mean. Limits are from photos
    drawn anew, clusters whole.

    Returns:
        A frame without rows where the run kept no boxes.
    """
    if not job.run.manifest["study"].get("keep_boxes"):
        return pd.DataFrame()
    return pd.DataFrame([dict(_world(job, *place)) for place in job.world_arms()])


def _world(
    job: PresenceScores, world: str, contrast: str, arm: str
) -> Iterator[tuple[str, object]]:
    there = np.flatnonzero(~np.isnan(job.scores(contrast, arm)).all(axis=1))
    panel = job.panel.take(there)
    samples = panel.sample.tolist()
    draws = min(job.draws, _DRAWS)
    weights = image_weights(panel, draws, job.rng())
    truth = true_boxes(job.run.folder)
    found = found_boxes(job.run.folder, list(job.run.manifest["cells"]), contrast, "", arm)
    others = [name for name in job.run.targets if name != PERSON]
    drawn = partial(_drawn, truth=truth, samples=samples, classes=others)
    pair = _groups(panel, draws, job.rng()) if len(panel.groups) == 2 else []
    by_group = [weights * own[0] for own in pair] + [own[1:] for own in pair]
    whole, *parts = drawn(found, [weights, *by_group])
    yield from {"world": world, "photos": len(samples)}.items()
    for name in ("AP", "AP50", "AP75", "AR"):
        yield from _with_limits(name, whole[name])
    if PERSON in job.run.targets:
        yield "AP_person", average_precision(truth, found, samples, [PERSON]).ap
    if pair:
        yield from _by_group(panel.groups, parts, "")
        strict = found[found["score"] >= _least(job, found)]
        yield from _by_group(panel.groups, drawn(strict, by_group), "_at_point")


def _drawn(
    found: pd.DataFrame,
    weights: Sequence[Array],
    *,
    truth: pd.DataFrame,
    samples: Sequence[str],
    classes: Sequence[str],
) -> list[dict[str, Array]]:
    """Precisions under several sets of weights [W, S], boxes matched once for all of them."""
    ends = np.cumsum([len(rows) for rows in weights])[:-1]
    values = box_precisions(truth, found, samples, classes, np.concatenate(weights))
    parts = {name: np.split(value, ends) for name, value in values.items()}
    return [{name: part[place] for name, part in parts.items()} for place in range(len(weights))]


def _groups(panel: Panel, draws: int, rng: np.random.Generator) -> list[Array]:
    """For each of two groups, [1 + draws, S] who is in it: as it is, then as shuffled labels say."""
    codes = np.empty((1 + draws, len(panel)), dtype=np.int8)
    codes[0] = panel.code
    codes[1:, panel.layout.order] = permuted_codes(panel, draws, rng)
    return [(codes == group).astype(np.float64) for group in (0, 1)]


def _by_group(
    groups: Sequence[str], parts: Sequence[Mapping[str, Array]], place: str
) -> Iterator[tuple[str, float]]:
    first, second, shuffled_first, shuffled_second = (part["AP"] for part in parts)
    yield f"AP_{groups[0]}{place}", float(first[0])
    yield f"AP_{groups[1]}{place}", float(second[0])
    gap, shuffled = first - second, shuffled_first - shuffled_second
    yield from _with_limits(f"AP_gap{place}", gap)
    shuffled = shuffled[~np.isnan(shuffled)]
    known = len(shuffled) > 0 and not np.isnan(gap[0])
    middle = float(shuffled.mean()) if known else float("nan")
    yield f"AP_gap_shuffled{place}", middle
    distance = np.abs(shuffled - middle)
    p = permutation_p(abs(float(gap[0]) - middle), distance) if known else float("nan")
    yield f"AP_gap_p{place}", p


def _with_limits(name: str, values: Array) -> Iterator[tuple[str, float]]:
    """The value as measured, and its 95 % limits."""
    yield name, float(values[0])
    low, high = limits(values)
    yield f"{name}_lo", low
    yield f"{name}_hi", high


def _least(job: PresenceScores, found: pd.DataFrame) -> Array:
    """The least score of each box that is above its class's threshold, a log odds."""
    score = dict(zip(job.run.targets, expit(job.thresholds), strict=True))
    least: Array = found["target"].map(score).to_numpy(float)
    return least
