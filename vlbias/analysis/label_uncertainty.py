"""Labels that few captions stand on: B with limits that hold the doubt about who is in which group.

A group that k agreeing captions gave is wrong with a probability that falls with k. Labels are drawn many times
from these probabilities, and the limits combine the error within labelings with that between them (Rubin 1987,
equations 3.1.5 to 3.1.7). Wrong labels also shrink gaps: B under drawn labels is smaller than under true ones,
by about the factor 1 - 2 p for a common probability p. Read the change of B for that, the limits for the doubt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from vlbias.analysis.arm_estimates import Functional, fit_null
from vlbias.analysis.cluster_limits import degrees_of_freedom
from vlbias.analysis.inference import check_level, interval, multipliers
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Thresholds, measure_rates, noise
from vlbias.errors import BadStudy

__all__ = ["uncertain_labels", "wrong_given"]

_WANTED: frozenset[Functional] = frozenset({"plugin", "crossfit"})


def wrong_given(agreeing: npt.ArrayLike, caption_error: float) -> npt.NDArray[np.float64]:
    """[S] probability that a label of so many agreeing captions is wrong, groups being equally likely before.

    Args:
        agreeing: [S] captions that name the group; none names the other.
        caption_error: Probability that one caption names the other group.

    Raises:
        BadStudy: if the probability is not above 0 and below one half.
    """
    if not 0 < caption_error < 0.5:
        raise BadStudy("caption error", caption_error, "a probability above 0 and below 0.5")
    odds = (caption_error / (1 - caption_error)) ** np.asarray(agreeing, np.float64)
    return np.asarray(odds / (1 + odds))


def uncertain_labels(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds,
    wrong: npt.NDArray[np.float64],
    *,
    objects: npt.NDArray[np.intp],
    rng: np.random.Generator,
    repeats: int = 20,
    draws: int = 400,
    level: float = 0.95,
) -> dict[str, float]:
    """B of two groups under drawn labels.

    Args:
        panel: Images, groups, presence.
        scores: [S, K].
        thresholds: [K].
        wrong: [S] probability that a label is that of the other group.
        objects: Columns with support.
        rng: Seeded generator.
        repeats: Labelings.
        draws: Multiplier draws of each.
        level: Of the limits.

    Returns:
        plugin and crossfit (means over labelings), lo and hi (limits of B), and missing (share of the variance
        of the cross-fit that is between labelings).

    Raises:
        BadStudy: if there are not two groups.
    """
    if len(panel.groups) != 2:
        raise BadStudy(
            "groups", panel.groups, "two groups, for labels that may be those of the other"
        )
    names, found = np.asarray(panel.groups), []
    for _ in range(repeats):
        code = np.where(rng.random(len(panel)) < wrong, 1 - panel.code, panel.code)
        drawn = panel.relabelled(names[code])
        rates = measure_rates(drawn, scores, "fpr", thresholds, objects=objects)
        (error,) = noise([rates], multipliers(drawn.layout, draws, rng))
        arm = fit_null(rates, error, _WANTED).arm
        spread = [interval(arm.value[name], arm.draws[name]).se for name in ("crossfit", "plugin")]
        found.append((arm.value["crossfit"], arm.value["plugin"], *spread))
    table = np.array(found)
    mean, within = table[:, :2].mean(axis=0), (table[:, 2:] ** 2).mean(axis=0)
    between = (1 + 1 / repeats) * table[:, :2].var(axis=0, ddof=1)
    # B lies between the two expectations: half of the error goes to each end, as in `bounded`
    quantile = float(t.isf((1 - check_level(level)) / 2, degrees_of_freedom(rates)))
    reach = quantile * np.sqrt(within + between)
    return {
        "plugin": float(mean[1]),
        "crossfit": float(mean[0]),
        "lo": max(0.0, float(mean[0] - reach[0])),
        "hi": float(mean[1] + reach[1]),
        "missing": float(between[0] / (within[0] + between[0])) if within[0] else 0.0,
    }
