"""What is raced in a study of photos: the change of the score gaps through each unit.

Gaps count in the direction, and by the certainty of the direction, that they have on the photos that set
thresholds. Photos that are raced choose nothing, so that each adds a part of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis.functionals import certainty
from vlbias.store.run_folder import Run
from vlbias.studies.arms.raced_units import RacedValues, raced_units, with_raced_p
from vlbias.studies.photos.run_panel import groups_of, panel_of
from vlbias.studies.photos.scores import has_enough_captions

__all__ = ["race_table", "raced_effects", "raced_weights", "score_gap_changes"]

Floats = NDArray[np.float64]


def raced_weights(run: Run, contrast: str) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """Which photos are raced, their weights of scores, and their groups.

    The sum over groups of the mean of (weights * scores).sum(1) is the sum of the score gaps.

    Returns:
        Rows [N] of the run's samples, weights [N, classes], codes of groups [N].
    """
    panel, groups = panel_of(run), groups_of(run)
    grouped = np.isin(panel.group, groups) & has_enough_captions(run)
    raced = run.samples["round"].to_numpy().astype(np.intp) > 0
    split = run.manifest["study"]["operating_point"]["split"]
    fit = grouped & ~raced & (panel.split == split)
    scores = run.slab(contrast, "", "00").astype(np.float64)
    free = ~panel.present
    means, variances = [], []
    for name in groups:
        known = free[fit & (panel.group == name)]
        values = scores[fit & (panel.group == name)]
        known &= ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 2)
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        square = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
        means.append(mean)
        variances.append(square / count / (count - 1))
    mean, variance, every = np.array(means), np.array(variances), np.arange(scores.shape[1])
    high, low = mean.argmax(axis=0), mean.argmin(axis=0)
    spread = np.sqrt(variance[high, every] + variance[low, every])
    sure = np.where(high != low, certainty(mean[high, every] - mean[low, every], spread), 0.0)
    rows = np.flatnonzero(grouped & raced)
    code = np.array([groups.index(name) for name in panel.group[rows]], np.intp)
    weights = np.zeros((len(rows), scores.shape[1]))
    for place in range(len(groups)):
        mine = code == place
        # a photo that shows an object is none of those that the gap is taken over
        share = mine.sum() / np.maximum(free[rows[mine]].sum(axis=0), 1)
        sign = (high == place).astype(float) - (low == place)
        weights[mine] = sign * sure * share * free[rows[mine]]
    return rows, weights, code


def score_gap_changes(run: Run, contrast: str, units: Sequence[str]) -> RacedValues:
    """Weighted scores with the unit of the other world, minus those without, photo by photo."""
    rows, weights, code = raced_weights(run, contrast)
    first = run.slab(contrast, "", "00")[rows].astype(np.float64)
    changes = [
        (weights * (run.slab(contrast, unit, "01")[rows] - first)).sum(axis=1) for unit in units
    ]
    return RacedValues(rows, np.stack(changes, axis=1), code)


def race_table(run: Run, contrast: str) -> pd.DataFrame:
    """Who left when, and what is claimed; see `raced_units`."""
    return raced_units(run, contrast, score_gap_changes)


def raced_effects(effects: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Effects whose units have the adjusted p of the race."""
    is_raced = (effects["effect"] == "NIE") & (effects["functional"] == "score_gap_lin")
    return with_raced_p(effects, table, is_raced)
