"""What a world changes beyond what thresholds alone would: stricter is not less biased."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.operating_point import attributable
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["strictness"]

_NAMES = {
    "mitigated - null": "world - null",
    "threshold - null": "threshold - null",
    "mitigated - threshold": "attributable",
}


def strictness(job: PresenceScores) -> pd.DataFrame:
    """Change of the disparity in each world, of a threshold alone, and their difference.

    The threshold-only baseline is the base world with all thresholds moved to the world's mean
    false-positive rate. Three effects a contrast and functional, on the photos that have both worlds,
    with the rates of both and the decision by the limits of what is attributable.
    """
    found = []
    for contrast in job.contrasts:
        base, _, other = contrast.partition("->")
        first, last = job.scores(contrast, "00"), job.scores(contrast, "11")
        rows = np.flatnonzero(~(np.isnan(first) | np.isnan(last)).any(axis=1))
        if base == other or not len(rows) or not len(job.objects):
            continue
        result = attributable(
            job.panel.take(rows),
            first[rows],
            last[rows],
            job.thresholds,
            rng=job.rng(),
            objects=job.objects,
            draws=job.draws,
        )
        about = {
            "contrast": contrast,
            "fpr_base": result.fpr_null,
            "fpr_world": result.fpr_mitigated,
            "decision": result.decision,
        }
        found.append(result.table.replace({"effect": _NAMES}).assign(**about))
    if not found:
        return pd.DataFrame(columns=["contrast", "effect", "functional", "decision"])
    columns = ["contrast", "effect", "functional", "estimate", "lo", "hi", "n", "n_objects"]
    table = pd.concat(found, ignore_index=True)
    return table[[*columns, "fpr_base", "fpr_world", "decision"]]
