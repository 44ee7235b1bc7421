"""How far a sum of gaps could be off if missing scores are missing for a reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Rates, group_pairs

__all__ = ["MissingScores", "missing_scores"]


@dataclass(frozen=True)
class MissingScores:
    """What is not there, and what it could be.

    Args:
        share: Largest share of entries without a score in a group, over the objects used.
        least: Smallest plug-in B over all that the missing entries could have been.
        most: Largest plug-in B. Mean scores have no such bounds: NaN where any is missing.
    """

    share: float
    least: float
    most: float


def missing_scores(
    panel: Panel, scores: Floats, rates: Rates, measure: Measure, objects: npt.NDArray[np.intp]
) -> MissingScores:
    """Bounds of the sum of absolute gaps without any assumption on missing scores (Manski 1990).

    Estimates leave entries without a score out, which is right only if they are missing whatever
    their score would have been.

    Args:
        panel: Images, groups, presence.
        scores: [S, K], NaN where missing.
        rates: Of the objects.
        measure: What is averaged.
        objects: [K'] columns.
    """
    own = panel.present[:, objects] == (measure == "tpr")
    gone = own & np.isnan(scores[:, objects])
    groups = range(len(panel.groups))
    missing = np.stack([gone[panel.code == g].sum(axis=0) for g in groups]).astype(np.float64)
    whole = np.maximum(missing + rates.count, 1)
    pairs = group_pairs(len(panel.groups))
    share = float((missing / whole).max(initial=0))
    if measure == "score":
        total = np.nan if share else float(np.abs(rates.gap).mean(axis=0).sum())
        return MissingScores(share, total, total)
    low = rates.value * rates.count / whole
    high = low + missing / whole
    up = np.stack([high[g] - low[h] for g, h in pairs])
    down = np.stack([low[g] - high[h] for g, h in pairs])
    least = np.maximum(np.maximum(down, -up), 0.0).mean(axis=0).sum()
    most = np.maximum(np.abs(up), np.abs(down)).mean(axis=0).sum()
    return MissingScores(share, float(least), float(most))
