"""How strong an unmeasured confounder would have to be to explain an indirect effect away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from vlbias.analysis.covariate_patterns import Patterns
from vlbias.analysis.gformula import FourMeans
from vlbias.analysis.glm import fit
from vlbias.analysis.natural_effects import EFFECTS, log_risk_ratio

__all__ = ["Sensitivity", "e_value", "sensitivity"]


@dataclass(frozen=True)
class Sensitivity:
    """What would explain an indirect effect away.

    Args:
        measure: "E-value" or "rho".
        estimate: For the estimate to be nothing: the E-value of mediator and outcome, a ratio of risks of 1
            or more; or rho, the correlation of the errors of the two regressions.
        limit: The same for the limit that is nearest to nothing; NaN for rho.
    """

    measure: str
    estimate: float
    limit: float


def e_value(risk_ratio: float) -> float:
    """RR + sqrt(RR (RR − 1)) of a ratio of risks, or of its inverse below 1 (VanderWeele and Ding 2017)."""
    if not np.isfinite(risk_ratio) or risk_ratio <= 0:
        return float("nan")
    ratio = max(risk_ratio, 1 / risk_ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


def sensitivity(four: FourMeans) -> Sensitivity:
    """The E-value of an indirect effect; rho where mediator and outcome are continuous.

    The E-value of a mediated effect concerns confounding of mediator and outcome (Smith and VanderWeele,
    Epidemiology 2019). A continuous outcome enters as the ratio exp(0.91 d) of its standardised effect d
    (VanderWeele and Ding, Annals of Internal Medicine 2017). Rho is where the indirect effect of two linear
    regressions without interaction is 0 (Imai, Keele and Yamamoto, Statistical Science 2010, theorem 4).
    """
    outcome = four.equations[-1]
    linear = all(one.family == "continuous" for one in four.equations)
    if linear and len(four.equations) == 2 and not four.interaction:
        return Sensitivity("rho", _rho(four), float("nan"))
    z = stats.norm.ppf(0.975)
    if outcome.family == "binary":
        log, se = log_risk_ratio(four)
    else:
        spread = 0.91 / _sd(four.patterns, outcome.name)
        weights = np.array(EFFECTS["ACME"])
        log = spread * float(weights @ four.means)
        se = spread * float(weights @ four.covariance @ weights) ** 0.5
    nearest = max(abs(log) - z * se, 0.0)
    return Sensitivity("E-value", e_value(float(np.exp(log))), e_value(float(np.exp(nearest))))


def _rho(four: FourMeans) -> float:
    """Correlation of the residuals of mediator and outcome, both regressed without the other."""
    mediator, outcome = four.equations
    residuals = []
    for name in (mediator.name, outcome.name):
        reduced = fit(name, "continuous", mediator.terms, four.patterns).equation
        fitted = reduced.predictor(four.patterns.columns, len(four.patterns))
        residuals.append(four.patterns.columns[name] - fitted)
    weighted = np.cov(residuals[0], residuals[1], aweights=four.patterns.weight)
    return float(weighted[0, 1] / np.sqrt(weighted[0, 0] * weighted[1, 1]))


def _sd(patterns: Patterns, name: str) -> float:
    values = patterns.columns[name]
    mean = np.average(values, weights=patterns.weight)
    return float(np.sqrt(np.average((values - mean) ** 2, weights=patterns.weight)))
