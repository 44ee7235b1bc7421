"""Ways to adjust and to estimate, by name, so that a benchmark can show what the graph buys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression

from vlbias.analysis.covariate_patterns import collapse
from vlbias.analysis.gformula import FourMeans, g_formula
from vlbias.analysis.glm import fit
from vlbias.analysis.natural_effects import effects_frame
from vlbias.causal.equation import Term
from vlbias.data.adjustment import AdjustmentSet

__all__ = ["METHODS", "Answer", "Case"]

Columns = Mapping[str, NDArray[np.float64]]
_FOLDS = 3
_STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Inverse penalties of the LASSO, of which cross-validation chooses."""


@dataclass(frozen=True)
class Case:
    """A triple in a cohort.

    Args:
        columns: Every code of the cohort that is no is-a relative of the triple's.
        adjustment: What the graph says.
    """

    columns: Columns
    adjustment: AdjustmentSet

    @property
    def names(self) -> tuple[str, str, str]:
        """Exposure, mediator, outcome."""
        triple = self.adjustment.triple
        return triple.exposure, triple.mediator, triple.outcome

    @property
    def others(self) -> list[str]:
        """Every other code that varies."""
        return sorted(
            code
            for code, column in self.columns.items()
            if code not in self.names and column.min() < column.max()
        )


@dataclass(frozen=True)
class Answer:
    """What a method says of the indirect effect; limits and estimate are NaN if it gives none.

    Args:
        estimate: ACME.
        lo: Lower 95 % limit.
        hi: Upper 95 % limit.
        p: Of its test against 0.
        adjusted_for: How many codes it adjusts for.
    """

    estimate: float
    lo: float
    hi: float
    p: float
    adjusted_for: int


def _answer(four: FourMeans, adjusted_for: int) -> Answer:
    row = effects_frame(four).set_index("effect").loc["ACME"]
    estimate, lo, hi, p = (float(row[name]) for name in ("estimate", "lo", "hi", "p"))
    return Answer(estimate, lo, hi, p, adjusted_for)


def by_graph(case: Case) -> Answer:
    """The g-formula, adjusted as the graph says; interventional, where that is all it identifies."""
    chosen = case.adjustment
    exposure, mediator, outcome = case.names
    between = list(chosen.intermediate)
    four = g_formula(
        case.columns, exposure, [*between, mediator], outcome, chosen.covariates, direct=between
    )
    return _answer(four, len(chosen.covariates))


def unadjusted(case: Case) -> Answer:
    """The g-formula without any covariate."""
    exposure, mediator, outcome = case.names
    return _answer(g_formula(case.columns, exposure, [mediator], outcome), 0)


def all_covariates(case: Case) -> Answer:
    """The g-formula, adjusted for every other code, effects of the exposure included."""
    exposure, mediator, outcome = case.names
    others = case.others
    return _answer(g_formula(case.columns, exposure, [mediator], outcome, others), len(others))


def lasso_union(case: Case) -> Answer:
    """The published pipeline: the union of what two LASSO regressions keep, then unpenalised regressions.

    Its defects: what is kept is chosen with the same patients, and errors do not know of it; covariates that
    the exposure causes are candidates; the outcome has no part in the choice; and the effects are always those
    of the model with interaction (Toonsi et al. fit the one without, and do not use it). Here p is by the
    delta method: with 1,000 draws it could be no smaller than .002.
    """
    exposure, mediator, outcome = case.names
    kept = set(_kept(case, exposure, case.others))
    kept |= set(_kept(case, mediator, [exposure, *case.others])) - {exposure}
    chosen = sorted(kept)
    four = g_formula(case.columns, exposure, [mediator], outcome, chosen, interaction=True)
    return _answer(four, len(chosen))


def _kept(case: Case, name: str, candidates: Sequence[str]) -> list[str]:
    """The candidates whose coefficient a cross-validated LASSO keeps."""
    x = np.column_stack([case.columns[code] for code in candidates])
    y = case.columns[name].astype(int)
    fold = np.arange(len(y)) % _FOLDS
    losses = []
    for strength in _STRENGTHS:
        loss = 0.0
        for number in range(_FOLDS):
            model = _lasso(strength).fit(x[fold != number], y[fold != number])
            chance = model.predict_proba(x[fold == number])[:, 1].clip(1e-9, 1 - 1e-9)
            held = y[fold == number]
            loss -= float((held * np.log(chance) + (1 - held) * np.log1p(-chance)).sum())
        losses.append(loss)
    best = _lasso(_STRENGTHS[int(np.argmin(losses))]).fit(x, y)
    return [code for code, beta in zip(candidates, best.coef_[0], strict=True) if beta != 0]


def _lasso(strength: float) -> LogisticRegression:
    # the argument was renamed in scikit-learn 1.8
    major, minor = (int(part) for part in version("scikit-learn").split(".")[:2])
    kind = {"l1_ratio": 1.0} if (major, minor) >= (1, 8) else {"penalty": "l1"}
    return LogisticRegression(C=strength, solver="liblinear", random_state=0, **kind)


def linear_probability(case: Case) -> Answer:
    """Two linear regressions of 0/1 variables, adjusted as the graph says."""
    chosen, (exposure, mediator, outcome) = case.adjustment, case.names
    patterns = collapse({name: case.columns[name] for name in (*case.names, *chosen.covariates)})
    adjusted: list[Term] = [(code,) for code in chosen.covariates]
    first = fit(mediator, "continuous", [(), (exposure,), *adjusted], patterns)
    second = fit(outcome, "continuous", [(), (exposure,), (mediator,), *adjusted], patterns)
    a, b = first.equation.coefficients[1], second.equation.coefficients[2]
    influence = b * first.influence[:, 1] + a * second.influence[:, 2]
    se = float(np.sqrt((patterns.weight * influence**2).sum())) / patterns.n
    return _normal(a * b, se, len(chosen.covariates))


def product_of_coefficients(case: Case) -> Answer:
    """Sobel's test of the product of two logistic coefficients, adjusted as the graph says; no ACME."""
    chosen, (exposure, mediator, outcome) = case.adjustment, case.names
    patterns = collapse({name: case.columns[name] for name in (*case.names, *chosen.covariates)})
    adjusted: list[Term] = [(code,) for code in chosen.covariates]
    first = fit(mediator, "binary", [(), (exposure,), *adjusted], patterns)
    second = fit(outcome, "binary", [(), (exposure,), (mediator,), *adjusted], patterns)
    a, b = first.equation.coefficients[1], second.equation.coefficients[2]
    se_a, se_b = first.covariance(patterns)[1, 1], second.covariance(patterns)[2, 2]
    found = _normal(a * b, float(np.sqrt(b**2 * se_a + a**2 * se_b)), len(chosen.covariates))
    return Answer(np.nan, np.nan, np.nan, found.p, found.adjusted_for)


def _normal(estimate: float, se: float, adjusted_for: int) -> Answer:
    reach = float(stats.norm.ppf(0.975)) * se
    p = float(2 * stats.norm.sf(abs(estimate) / se))
    return Answer(estimate, estimate - reach, estimate + reach, p, adjusted_for)


METHODS: Mapping[str, Callable[[Case], Answer]] = {
    "graph": by_graph,
    "unadjusted": unadjusted,
    "linear probability": linear_probability,
    "product of coefficients": product_of_coefficients,
    "all covariates": all_covariates,
    "LASSO union": lasso_union,
}
"""Name to method; the last two take seconds a triple. The third and fourth adjust as the graph says."""
