"""What an intervention does to either group's errors, so that levelling down is seen.

A gap can close because the group with more false positives gets fewer, or because the other gets more.
For each object the group with more and the group with fewer false positives are told by the signs of the
unchanged model's gaps. Their summed rates change by half of the change of all rates, plus and minus half
of the change of B_lin. Signs of unsure gaps count less, as in B_lin.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from vlbias.analysis.cluster_limits import degrees_of_freedom
from vlbias.analysis.functionals import certainty, density, standardised
from vlbias.analysis.inference import p_value
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Rates, Thresholds, Window

__all__ = ["ErrorLevels", "error_levels"]

_TAIL = 0.025


@dataclass(frozen=True)
class ErrorLevels:
    """Mean false-positive rates over objects of two groups, before and after an intervention.

    Args:
        higher_before: Of the group with more false positives for each object.
        higher_after: Of the same group, with the intervention.
        higher_lo: 95 % limits of the change, Student's over clusters.
        higher_hi: The upper one.
        lower_before: Of the other group.
        lower_after: With the intervention.
        lower_lo: 95 % limits of the change.
        lower_hi: The upper one.
        lower_p: Of no change of the other group.
    """

    higher_before: float
    higher_after: float
    higher_lo: float
    higher_hi: float
    lower_before: float
    lower_after: float
    lower_lo: float
    lower_hi: float
    lower_p: float

    @property
    def is_levelling_down(self) -> bool:
        """Whether the group with fewer errors is shown to get more of them while the gap closes."""
        gap_before = self.higher_before - self.lower_before
        gap_after = self.higher_after - self.lower_after
        return self.lower_lo > 0 and abs(gap_after) < abs(gap_before)

    def row(self) -> dict[str, float | bool]:
        """As columns of a table."""
        return {**asdict(self), "levelling_down": self.is_levelling_down}


def error_levels(
    panel: Panel,
    y0: Floats,
    other: Floats,
    thresholds: tuple[Thresholds, Thresholds],
    *,
    objects: npt.NDArray[np.intp],
    signs: npt.NDArray[np.float64] | None = None,
) -> ErrorLevels | None:
    """Levels before and after; None unless there are two groups and some object.

    Args:
        panel: Images, groups, presence.
        y0: [S, K] scores without the intervention.
        other: [S, K] with it.
        thresholds: [K] of either.
        objects: Columns with support.
        signs: [1, K'] from held-out images; cross-fitted if not given.
    """
    if len(panel.groups) != 2 or len(objects) == 0:
        return None
    valid = ~(np.isnan(y0) | np.isnan(other))
    window = Window.of(panel, "fpr", valid, objects)
    first, last = window.rates(y0, thresholds[0]), window.rates(other, thresholds[1])
    weight = certainty(first.gap, first.spread)[0] if signs is None else signs[0]
    df = degrees_of_freedom(first)
    found: dict[str, float] = {}
    for name, sign in (("higher", 1.0), ("lower", -1.0)):
        part = 0.5 * np.stack([1 + sign * weight, 1 - sign * weight]) / len(objects)
        levels = [_level(one, first, part, sign, signs is None) for one in (first, last)]
        moved = last.influence(part) - first.influence(part)
        se, change = float(np.sqrt((moved**2).sum())), levels[1] - levels[0]
        reach = -float(stdtrit(df, _TAIL)) * se
        found |= {f"{name}_before": levels[0], f"{name}_after": levels[1]}
        found |= {f"{name}_lo": change - reach, f"{name}_hi": change + reach}
        if name == "lower":
            found["lower_p"] = p_value(change, se, df)
    return ErrorLevels(**found)


def _level(
    arm: Rates, null: Rates, part: npt.NDArray[np.float64], sign: float, crossfitted: bool
) -> float:
    """A group's mean rate, without what choosing it by the same images adds; see `functionals`."""
    value = float((part * arm.value).sum())
    if not crossfitted:
        return value
    spread = null.spread[0]
    slope = np.divide(
        2 * null.covariance(arm)[0], spread, out=np.zeros_like(spread), where=spread > 0
    )
    chosen = slope * density(standardised(null.gap, null.spread))[0]
    return float(value - sign * 0.5 * chosen.sum() / part.shape[1])
