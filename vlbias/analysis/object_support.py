"""Which objects have enough data, and the signs of their gaps on images held out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, measure_rates

__all__ = ["held_out_signs", "support"]


def support(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds | None,
    *,
    measure: Measure = "fpr",
    min_count: int = 50,
    min_events: float = 5.0,
) -> npt.NDArray[np.intp]:
    """Columns of the objects that have enough data; fix them on the null arm, then keep them.

    An object is used if every group has at least `min_count` images in the denominator and, for
    rates, at least `min_events` expected events at the rate pooled over groups. The pooled rate
    does not look at the gap, so the choice does not favour large or small gaps.
    """
    rates = measure_rates(panel, scores, measure, thresholds)
    enough = np.asarray((rates.count >= min_count).all(axis=0))
    if measure != "score":
        total = rates.count.sum(axis=0)
        pooled = (rates.value * rates.count).sum(axis=0) / np.maximum(total, 1)
        for rate in (pooled, 1 - pooled) if measure == "tpr" else (pooled,):
            enough &= (rate * rates.count).min(axis=0) >= min_events
    return np.flatnonzero(enough)


def held_out_signs(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds | None,
    *,
    measure: Measure = "fpr",
    objects: npt.NDArray[np.intp],
) -> npt.NDArray[np.float64]:
    """[P, K'] signs of the gaps on images that the effects will not be estimated on."""
    return np.sign(measure_rates(panel, scores, measure, thresholds, objects=objects).gap)
