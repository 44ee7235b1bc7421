"""Effects as differences of the four means, with limits and p-values by the delta method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from vlbias.analysis.gformula import FourMeans

__all__ = ["EFFECTS", "Share", "effects_frame", "log_risk_ratio", "share_mediated"]

Floats = NDArray[np.float64]
EFFECTS: dict[str, tuple[float, float, float, float]] = {
    "ACME": (-0.5, 0.5, -0.5, 0.5),
    "ADE": (-0.5, -0.5, 0.5, 0.5),
    "TE": (-1.0, 0.0, 0.0, 1.0),
    "PNDE": (-1.0, 0.0, 1.0, 0.0),
    "TNIE": (0.0, 0.0, -1.0, 1.0),
    "TNDE": (0.0, -1.0, 0.0, 1.0),
    "PNIE": (-1.0, 1.0, 0.0, 0.0),
    "INT": (1.0, -1.0, -1.0, 1.0),
}
"""Effect to its weights on the means 00, 01, 10, 11. TE = PNDE + TNIE = TNDE + PNIE = ACME + ADE."""


@dataclass(frozen=True)
class Share:
    """The mediated share of the total effect.

    Args:
        estimate: ACME / TE; NaN unless the limits of TE exclude 0.
        lo: Lower 95 % limit.
        hi: Upper 95 % limit.
    """

    estimate: float
    lo: float
    hi: float


def effects_frame(four: FourMeans, level: float = 0.95) -> pd.DataFrame:
    """One row an effect of `EFFECTS`: effect, estimate, se, lo, hi, p.

    Args:
        four: The means.
        level: Of the limits.
    """
    weights = np.array(list(EFFECTS.values()))
    estimate = weights @ four.means
    variance = np.einsum("ij,jk,ik->i", weights, four.covariance, weights)
    se = np.sqrt(np.maximum(variance, 0.0))
    reach = stats.norm.ppf(0.5 + level / 2) * se
    z = np.divide(np.abs(estimate), se, out=np.zeros_like(se), where=se > 0)
    # an effect without error is 0 by construction, as an interaction that was left out of a linear model
    p = np.where(se > 0, 2 * stats.norm.sf(z), np.nan)
    return pd.DataFrame(
        {
            "effect": list(EFFECTS),
            "estimate": estimate,
            "se": se,
            "lo": estimate - reach,
            "hi": estimate + reach,
            "p": p,
        }
    )


def share_mediated(four: FourMeans) -> Share:
    """ACME / TE by the delta method; NaN unless the 95 % limits of TE exclude 0."""
    top, bottom = (np.array(EFFECTS[name]) for name in ("ACME", "TE"))
    total = float(bottom @ four.means)
    z = stats.norm.ppf(0.975)
    if abs(total) <= z * float(bottom @ four.covariance @ bottom) ** 0.5:
        return Share(np.nan, np.nan, np.nan)
    share = float(top @ four.means) / total
    gradient = (top - share * bottom) / total
    reach = z * float(gradient @ four.covariance @ gradient) ** 0.5
    return Share(share, share - reach, share + reach)


def log_risk_ratio(four: FourMeans) -> tuple[float, float]:
    """Log of Y11 / Y10, the indirect effect as a ratio of risks, and its standard error; NaN if a mean is 0."""
    upper, lower = four.means[3], four.means[2]
    if min(upper, lower) <= 0:
        return np.nan, np.nan
    gradient = np.array([0.0, 0.0, -1 / lower, 1 / upper])
    return float(np.log(upper / lower)), float(gradient @ four.covariance @ gradient) ** 0.5
