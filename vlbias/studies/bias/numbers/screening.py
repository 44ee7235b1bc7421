"""How good the approximation was by which mediators were chosen, on photos that chose nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.score_gap import score_gap_weights
from vlbias.studies.arms.screened_units import screened_units
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["screening"]


def screening(job: PresenceScores) -> pd.DataFrame:
    """One row a contrast; none where the run was not screened."""
    if "screen" not in job.run.manifest:
        return pd.DataFrame(columns=["contrast"])
    frames = []
    for contrast in job.contrasts:
        if contrast in job.unmediated:
            continue
        y00 = job.scores(contrast, "00")
        weights = score_gap_weights(y00.astype(float), job.panel.present, job.panel.group)
        exact = {
            name: float(np.nansum(weights * (y01[job.kept] - y00)))
            for name, y01, _ in job.run.arms(contrast)
        }
        found = screened_units(job.run, contrast, pd.Series(exact, dtype=float))
        frames.append(found.assign(contrast=contrast))
    return pd.concat(frames, ignore_index=True)
