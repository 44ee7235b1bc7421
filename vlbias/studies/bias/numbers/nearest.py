"""Recall of objects that are there, by the group of the person who stands nearest to them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.disparity import disparity
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Panel
from vlbias.studies.photos.run_panel import nearest_of
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["recall_by_nearest"]

_MIN_COUNT = 20
_COLUMNS = ("gap", "lo", "hi", "p_exact", "p_max_t")


def recall_by_nearest(job: PresenceScores) -> pd.DataFrame:
    """How often an object is found, by the group of the person nearest to it, in the null world.

    A photo counts for an object under the group of the person nearest to it, so that photos of several persons
    count too, and one photo may count for two objects under two groups; it is one cluster. What is not in a
    photo stands near nobody: B, which is about false positives, has no such reading.

    Returns:
        One row per object with 20 photos of each group and 5 hits and misses to expect in each: object, then
        n_GROUP, rate_GROUP, gap, lo, hi, p_exact, p_max_t as in the table of objects. No row if no person has
        a group of their own.
    """
    frame = nearest_of(job.run)
    groups = job.panel.groups
    frame = frame[frame["group"].isin(groups)]
    place = {name: row for row, name in enumerate(job.whole.sample)}
    report = job.point["report"] or sorted(set(job.whole.split.tolist()))
    shown = {name for name, row in place.items() if job.whole.split[row] in report}
    frame = frame[frame["sample_id"].isin(shown)]
    if frame.empty:
        return pd.DataFrame()
    pairs = frame[["sample_id", "group"]].drop_duplicates()
    row_of = {pair: row for row, pair in enumerate(pairs.itertuples(index=False, name=None))}
    samples = np.array([place[name] for name, _ in row_of])
    column = {name: k for k, name in enumerate(job.run.targets)}
    there = np.zeros((len(pairs), len(column)), bool)
    for sample, target, group in frame.itertuples(index=False, name=None):
        there[row_of[sample, group], column[target]] = True
    panel = Panel(
        np.array([f"{name} {group}" for name, group in row_of]),
        job.whole.cluster[samples],
        pairs["group"].to_numpy(str),
        job.whole.split[samples],
        job.run.targets,
        there,
        groups,
    )
    scores = job.run.slab(job.null_contrast, "", "00")[samples]
    used = support(panel, scores, job.thresholds, measure="tpr", min_count=_MIN_COUNT)
    if not len(used):
        return pd.DataFrame()
    found = disparity(
        panel, scores, job.thresholds, measure="tpr", objects=used,
        draws=job.draws, permutations=job.draws, rng=job.rng(),
    ).objects  # fmt: skip
    rates = [f"{what}_{name}" for name in groups for what in ("n", "rate")]
    kept = found[found["status"] == "ok"]
    return kept[["object", *rates, *_COLUMNS]].reset_index(drop=True)
