"""Two estimates between whose expectations B lies, with draws of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlbias.analysis.arm_estimates import fit_null
from vlbias.analysis.cluster_limits import degrees_of_freedom
from vlbias.analysis.inference import bounded
from vlbias.analysis.panel import Floats
from vlbias.analysis.rates import Rates, group_pairs, noise

__all__ = ["BoundsOfB", "bounds_of_b", "gap_errors"]


@dataclass(frozen=True, eq=False)
class BoundsOfB:
    """Estimates with their [Z, D] draws.

    Args:
        crossfit: Its expectation is at most B.
        plugin: Its expectation is at least B.
        df: Degrees of freedom of the limits.
    """

    crossfit: tuple[float, Floats]
    plugin: tuple[float, Floats]
    df: float

    def limits(self, level: float = 0.95) -> tuple[float, float]:
        """Limits of B, of which the lower one is not below 0."""
        lo, hi = bounded(self.crossfit, self.plugin, level, df=self.df)
        return max(0.0, lo), hi


def bounds_of_b(rates: Rates, error: Floats) -> BoundsOfB:
    """Cross-fit and plug-in of rates, with the draws of both.

    Args:
        rates: Of each group and object.
        error: [D, P, K] drawn errors of the gaps; see `gap_errors`.
    """
    arm = fit_null(rates, error, frozenset({"plugin", "crossfit"})).arm
    crossfit, plugin = ((arm.value[name], arm.draws[name]) for name in ("crossfit", "plugin"))
    return BoundsOfB(crossfit, plugin, degrees_of_freedom(rates))


def gap_errors(rates: Rates, weights: Floats, moved: Floats | None = None) -> Floats:
    """[D, P, K] drawn errors of the gaps between pairs of groups.

    Args:
        rates: Of each group and object.
        weights: [D, B] multipliers; see `inference.multipliers`.
        moved: [D, G, K] how rates move with drawn thresholds (`threshold_error.moved_rates`).
    """
    (error,) = noise([rates], weights)
    if moved is None:
        return error
    apart = [moved[:, g] - moved[:, h] for g, h in group_pairs(len(rates.value))]
    return np.asarray(error + np.stack(apart, axis=1).astype(error.dtype))
