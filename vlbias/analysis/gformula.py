"""Natural effects of observed mediators by the g-formula, with influence-function errors.

For exposure A, mediators M in causal order, outcome Y and covariates C, the four means are

    Y_ab = mean over C of the sum over m of  P(m | A=b, C) · E(Y | A=a, m, C)

(Pearl, UAI 2001; VanderWeele 2015, chapter 2), a the world of the direct input and b that of the mediators, as
everywhere in vlbias. Sums over continuous mediators are Gauss-Hermite quadrature. Every error follows from the
stacked estimating equations of all regressions and of the mean over C (delta method, no draws).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vlbias.analysis.arm_means import ARMS, arm_means, mean_and_gradient, worlds_of
from vlbias.analysis.covariate_patterns import Patterns, collapse
from vlbias.analysis.glm import Fit, fit, sandwich
from vlbias.causal.equation import Equation, Family, Term
from vlbias.errors import BadOption, BadTable

__all__ = ["FourMeans", "family_of", "g_formula", "redrawn_means"]

Floats = NDArray[np.float64]
_MOST_MEDIATORS = 8


@dataclass(frozen=True)
class FourMeans:
    """The four means of a triple, and what they were computed from.

    Args:
        means: Of `ARMS`, [4].
        covariance: Sandwich covariance of the means, [4, 4].
        fits: The mediators' regressions in causal order, then the outcome's.
        patterns: The table.
        direct: Mediators that follow the direct input's world: intermediate confounders.
        exposure: Name of the exposure.
        levels: Values of the exposure in the worlds 0 and 1.
        interaction: Whether the exposure changes what the mediators do to the outcome.
    """

    means: Floats
    covariance: Floats
    fits: tuple[Fit, ...]
    patterns: Patterns
    exposure: str
    levels: tuple[float, float] = (0.0, 1.0)
    direct: tuple[str, ...] = ()
    interaction: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The fitted equations, the outcome's last."""
        return tuple(one.equation for one in self.fits)


def family_of(column: NDArray[np.generic]) -> Family:
    """Family of a column: "binary" if it holds 0 and 1 only, else "continuous"."""
    return "binary" if np.isin(column, (0, 1)).all() else "continuous"


def g_formula(
    columns: Mapping[str, NDArray[np.generic]],
    exposure: str,
    mediators: Sequence[str],
    outcome: str,
    covariates: Sequence[str] = (),
    *,
    interaction: bool | None = None,
    direct: Sequence[str] = (),
    levels: tuple[float, float] = (0.0, 1.0),
    cluster: NDArray[np.int64] | None = None,
) -> FourMeans:
    """The four means of a table.

    Args:
        columns: Name to numbers [n]; 0/1 columns are binary, others continuous.
        exposure: The exposure's name.
        mediators: Names in causal order; each may depend on those before it.
        outcome: The outcome's name.
        covariates: Names of what is adjusted for.
        interaction: Whether the exposure may change what mediators do to the outcome; None keeps the
            product terms only where they differ from 0 together (Wald test, 5 %).
        direct: Those of the mediators that are intermediate confounders: they follow the direct world, and
            other mediators are regressed without them. The means are then interventional (VanderWeele,
            Vansteelandt and Robins, Epidemiology 2014).
        levels: Values of the exposure in the two worlds.
        cluster: Number from 0 of each row's cluster, [n].

    Raises:
        BadTable: if a column does not vary, or there are too few rows.
        BadOption: if there are too many mediators.
    """
    if not 1 <= len(mediators) <= _MOST_MEDIATORS:
        raise BadOption("mediators", len(mediators), f"1 to {_MOST_MEDIATORS} of them")
    names = [exposure, *mediators, outcome, *covariates]
    patterns = collapse({name: columns[name] for name in names}, cluster)
    base: list[Term] = [(), (exposure,)]
    adjusted: list[Term] = [(name,) for name in covariates]
    fits = []
    for place, name in enumerate(mediators):
        before = [one for one in mediators[:place] if (one in direct) == (name in direct)]
        terms = [*base, *((one,) for one in before), *adjusted]
        fits.append(fit(name, family_of(columns[name]), terms, patterns))
    main = [*base, *((one,) for one in mediators), *adjusted]
    products: list[Term] = [(exposure, one) for one in mediators]
    fitted, kept = _outcome(
        outcome, family_of(columns[outcome]), main, products, patterns, interaction
    )
    fits.append(fitted)
    notes = tuple(note for one in fits for note in one.notes)
    return _with_errors(patterns, fits, exposure, levels, tuple(direct), covariates, kept, notes)


def _outcome(
    name: str,
    family: Family,
    main: list[Term],
    products: list[Term],
    patterns: Patterns,
    interaction: bool | None,
) -> tuple[Fit, bool]:
    if interaction is False:
        return fit(name, family, main, patterns), False
    found = fit(name, family, [*main, *products], patterns)
    if interaction or _are_shown(found, products, patterns):
        return found, True
    return fit(name, family, main, patterns), False


def _are_shown(fitted: Fit, products: Sequence[Term], patterns: Patterns) -> bool:
    """Whether product terms differ from 0 together, by a Wald test at 5 %."""
    terms = fitted.equation.terms
    places = [terms.index(one) for one in products if one in terms]
    if not places or fitted.notes:
        return False
    beta = np.array(fitted.equation.coefficients)[places]
    covariance = fitted.covariance(patterns)[np.ix_(places, places)]
    statistic = float(beta @ np.linalg.pinv(covariance) @ beta)
    return bool(stats.chi2.sf(statistic, len(places)) < 0.05)


def _with_errors(
    patterns: Patterns,
    fits: Sequence[Fit],
    exposure: str,
    levels: tuple[float, float],
    direct: tuple[str, ...],
    covariates: Sequence[str],
    kept: bool,
    notes: tuple[str, ...],
) -> FourMeans:
    rows, inverse = patterns.project(list(covariates))
    equations = [one.equation for one in fits]
    mean = np.zeros(4)
    influence = np.zeros((len(patterns), 4))
    for place, arm in enumerate(ARMS):
        worlds = worlds_of(equations, arm, direct, levels)
        value, gradients = mean_and_gradient(equations, exposure, worlds, rows)
        mean[place] = rows.weight @ value / rows.n
        influence[:, place] = value[inverse] - mean[place]
        for one, gradient in zip(fits, gradients, strict=True):
            influence[:, place] += one.influence @ gradient
    if not np.isfinite(influence).all():
        raise BadTable("the errors of the effects are not finite; a regression has no solution")
    covariance = sandwich(influence, patterns)
    return FourMeans(mean, covariance, tuple(fits), patterns, exposure, levels, direct, kept, notes)


def redrawn_means(four: FourMeans, covariates: Sequence[str], draws: int, seed: int) -> Floats:
    """Means of `ARMS` [draws, 4] with coefficients drawn from their normal approximation.

    A check on the delta method, in the way of Imai, Keele and Tingley (Psychological Methods 2010). The mean
    over covariates is held, so that limits are a little narrower than those of `FourMeans.covariance`.

    Args:
        four: The fitted means.
        covariates: Names of what was adjusted for.
        draws: How many.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    rows, _ = four.patterns.project(list(covariates))
    drawn = [_draws(one, four.patterns, draws, rng) for one in four.fits]
    found = []
    for number in range(draws):
        equations = [values[number] for values in drawn]
        found.append(
            arm_means(equations, four.exposure, rows, direct=four.direct, levels=four.levels)
        )
    return np.array(found)


def _draws(one: Fit, patterns: Patterns, draws: int, rng: np.random.Generator) -> list[Equation]:
    equation = one.equation
    centre = np.array(equation.coefficients)
    if equation.family == "continuous":
        centre = np.append(centre, equation.variance)
    values = rng.multivariate_normal(centre, one.covariance(patterns), draws, method="eigh")
    k = len(equation.terms)
    return [
        Equation(
            equation.name,
            equation.family,
            equation.terms,
            tuple(map(float, row[:k])),
            max(float(row[k]), 1e-12) if len(row) > k else 0.0,
        )
        for row in values
    ]
