"""B of every world, the 2 x 2 of modalities, and B over operating points."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.context import context
from vlbias.analysis.disparity import Disparity, disparity
from vlbias.analysis.effects import combine
from vlbias.analysis.matched_thresholds import mean_fpr
from vlbias.analysis.operating_point import grid
from vlbias.analysis.panel import Floats
from vlbias.analysis.pooled_gaps import bias_shape, pooled_columns
from vlbias.analysis.rates import measure_rates
from vlbias.studies.bias.numbers.strictness import PLACEBOS
from vlbias.studies.photos.scores import PresenceScores, presence_map

__all__ = ["conditions", "context_of", "disparity_of", "modalities", "operating_points", "pooled"]

_POINTS = (0.02, 0.05, 0.1, 0.2, 0.3)


def disparity_of(job: PresenceScores, scores: Floats) -> Disparity:
    """B of one world over the fixed objects."""
    return disparity(
        job.panel,
        scores,
        job.thresholds,
        rng=job.rng(),
        objects=job.objects,
        strata=job.strata,
        draws=job.draws,
        permutations=job.draws,
        drawn_thresholds=job.drawn_thresholds,
    )


def pooled(job: PresenceScores) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gaps of the null world that learn from all objects, and whether few or many make up its bias."""
    rates = measure_rates(job.panel, job.null, "fpr", job.thresholds, objects=job.objects)
    names = [job.run.targets[k] for k in job.objects]
    shape = bias_shape(rates, draws=min(job.draws, 500), rng=job.rng())
    return pooled_columns(names, rates), shape


def context_of(job: PresenceScores) -> pd.DataFrame:
    """B of the null world in context; no row without objects."""
    if not len(job.objects):
        return pd.DataFrame()
    return context(
        job.panel, job.null, job.thresholds, objects=job.objects, rng=job.rng(), draws=job.draws
    )


def conditions(job: PresenceScores) -> pd.DataFrame:
    """B, floor, false-positive rate and quality of each world on its own photos."""
    rows = []
    for name, scores in job.worlds():
        found = disparity_of(job, scores)
        rows.append(
            {
                "world": name,
                "photos": int((~np.isnan(scores).all(axis=1)).sum()),
                "B_plugin": found.plugin,
                "floor": found.floor,
                "within_floor": found.is_within_floor,
                "p": found.p,
                "B_crossfit": found.crossfit,
                "B_lo": found.lo,
                "B_hi": found.hi,
                "signed": found.signed,
                "n_objects": found.n_objects,
                "mean_fpr": _mean_fpr(job, scores),
                "presence_mAP": presence_map(job.panel.present, scores),
            }
        )
    return pd.DataFrame(rows)


def _mean_fpr(job: PresenceScores, scores: Floats) -> float:
    if not len(job.objects):
        return float("nan")  # insufficient is not 0
    return mean_fpr(job.panel, scores, job.thresholds, objects=job.objects)


def modalities(job: PresenceScores) -> pd.DataFrame:
    """The modalities' 2 x 2 where its four worlds were run: image, text, both, and their interaction.

    Changes at the thresholds of the base world: worlds may differ in strictness.
    """
    arms = dict(job.worlds())
    base = next(iter(arms))
    if not set(PLACEBOS) <= set(arms):
        return pd.DataFrame()
    four = {name: arms[name] for name in (base, *PLACEBOS)}
    return _combined(job, four, _two_by_two(base), base)


def _two_by_two(base: str) -> list[Combination]:
    image, text, both = "mask-gender", "replace-gender", "both"
    return [
        Combination("image (mask-gender)", {image: 1, base: -1}),
        Combination("text (replace-gender)", {text: 1, base: -1}),
        Combination("both", {both: 1, base: -1}),
        Combination("interaction image x text", {both: 1, image: -1, text: -1, base: 1}),
    ]


def _combined(
    job: PresenceScores, arms: dict[str, Floats], wanted: list[Combination], base: str
) -> pd.DataFrame:
    return combine(
        job.panel,
        arms,
        wanted,
        base=base,
        rng=job.rng(),
        thresholds=job.thresholds,
        objects=job.objects,
        draws=job.draws,
    )


def operating_points(job: PresenceScores) -> pd.DataFrame:
    """B of every mediated world over operating points, on photos that have all of them.

    Each world has thresholds of its own, from the photos that set the operating point.
    """
    arms = dict(job.worlds())
    for contrast in job.unmediated:
        arms.pop(contrast.partition("->")[2], None)
    complete = ~np.isnan(np.stack(list(arms.values()))).any(axis=(0, 2))
    rows = np.flatnonzero(complete)
    part: dict[str, ArrayLike] = {name: scores[rows] for name, scores in arms.items()}
    frame, areas = grid(
        job.panel.take(rows), part, _POINTS, base=next(iter(arms)), fit=job.calibration()
    )
    return frame.merge(areas, on="arm").assign(photos=len(rows))
