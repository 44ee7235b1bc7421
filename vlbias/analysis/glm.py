"""Logistic and linear regressions on covariate patterns, with influence functions.

The influence function of a coefficient gives its sandwich covariance (White 1982), and that of everything
computed from it; summed within clusters, the clustered one. Where logistic regression is separated, estimates
are infinite; then Firth's penalised likelihood is used (Firth, Biometrika 1993; Heinze and Schemper, Statistics
in Medicine 2002), and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.covariate_patterns import Patterns
from vlbias.causal.equation import Equation, Family, Term, design, expit
from vlbias.errors import BadTable

__all__ = ["Fit", "fit", "sandwich"]

Floats = NDArray[np.float64]
_STEPS = 50
_LARGEST_CHANGE = 12.0
"""A coefficient that moves the log odds by more than this over its column's range is taken as infinite."""


@dataclass(frozen=True)
class Fit:
    """One fitted regression.

    Args:
        equation: With its coefficients.
        influence: Of each unit of a pattern on the coefficients, and last on the residual variance if the
            variable is continuous, [U, P].
        notes: What had to be done beside plain maximum likelihood, in words.
    """

    equation: Equation
    influence: Floats
    notes: tuple[str, ...] = ()

    def covariance(self, patterns: Patterns) -> Floats:
        """Sandwich covariance of coefficients, and residual variance if there is one, [P, P]."""
        return sandwich(self.influence, patterns)


def sandwich(influence: Floats, patterns: Patterns) -> Floats:
    """Covariance [P, P] of estimates with given influence functions [U, P]; clustered if patterns are."""
    n = patterns.n
    if patterns.cluster is None:
        covariance: Floats = (influence * patterns.weight[:, None]).T @ influence / n**2
        return covariance
    groups = int(patterns.cluster.max()) + 1
    sums = np.zeros((groups, influence.shape[1]))
    np.add.at(sums, patterns.cluster, influence * patterns.weight[:, None])
    covariance = sums.T @ sums / n**2 * groups / max(groups - 1, 1)
    return covariance


def fit(name: str, family: Family, terms: Sequence[Term], patterns: Patterns) -> Fit:
    """Regress a column on products of columns.

    Terms that are combinations of others are left out, and said.

    Args:
        name: The column.
        family: "binary" or "continuous".
        terms: What it is regressed on; the first are kept where some have to go.
        patterns: The table.

    Raises:
        BadTable: if the column does not vary, or there are fewer units than terms.
    """
    y = patterns.columns[name]
    if y.min() == y.max():
        raise BadTable(f"{name!r} is {y[0]:g} in every row: there is nothing to regress")
    x = design(tuple(terms), patterns.columns, len(patterns))
    kept = _independent(x, patterns.weight)
    names = tuple(terms[place] for place in kept)
    gone = [":".join(terms[place]) for place in range(len(terms)) if place not in kept]
    notes = [f"{name}: left out as redundant: {', '.join(gone)}"] if gone else []
    x = x[:, kept]
    if patterns.n <= x.shape[1] + 1:
        raise BadTable(
            f"{patterns.n:g} units are too few to regress {name!r} on {x.shape[1]} terms"
        )
    if family == "continuous":
        beta, influence, variance = _linear(x, y, patterns.weight)
        equation = Equation(name, family, names, tuple(map(float, beta)), variance)
        return Fit(equation, influence, tuple(notes))
    beta, separated = _logistic(x, y, patterns.weight)
    if separated:
        beta = _firth(x, y, patterns.weight)
        notes.append(f"{name}: separated by its predictors; Firth's penalised likelihood is used")
    mean = expit(x @ beta)
    bread = _information(x, mean, patterns.weight) / patterns.n
    influence = _solved(bread, x * (y - mean)[:, None])
    return Fit(Equation(name, family, names, tuple(map(float, beta))), influence, tuple(notes))


def _independent(x: Floats, weight: Floats) -> list[int]:
    """Columns that no earlier ones give by combination."""
    size = np.abs(np.diag(_triangle(x, weight)))
    norm = np.sqrt((x**2 * weight[:, None]).sum(0))
    return [place for place in range(x.shape[1]) if size[place] > 1e-9 * norm[place]]


def _triangle(x: Floats, weight: Floats) -> Floats:
    scaled = x * np.sqrt(weight)[:, None]
    if len(scaled) < scaled.shape[1]:
        scaled = np.vstack([scaled, np.zeros((scaled.shape[1] - len(scaled), scaled.shape[1]))])
    return np.asarray(np.linalg.qr(scaled, mode="r"), dtype=np.float64)


def _solved(bread: Floats, scores: Floats) -> Floats:
    """Influence functions [U, P] from the mean information [P, P] and scores [U, P]."""
    return np.asarray(np.linalg.solve(bread, scores.T).T, dtype=np.float64)


def _information(x: Floats, mean: Floats, weight: Floats) -> Floats:
    information: Floats = (x * (weight * mean * (1 - mean))[:, None]).T @ x
    # a hair of a ridge keeps saturated fits solvable; it moves no number that is looked at
    ridge = 1e-10 * float(np.trace(information)) / len(information)
    return np.asarray(information + ridge * np.eye(len(information)), dtype=np.float64)


def _likelihood(eta: Floats, y: Floats, weight: Floats) -> float:
    return float((weight * (y * eta - np.logaddexp(0, eta))).sum())


def _logistic(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, bool]:
    """Coefficients by Newton steps, and whether they run away."""
    beta = np.zeros(x.shape[1])
    reach = np.ptp(x, axis=0)
    reach[reach == 0] = 1.0
    best, converged = _likelihood(x @ beta, y, weight), False
    for _ in range(_STEPS):
        mean = expit(x @ beta)
        step = np.linalg.solve(_information(x, mean, weight), x.T @ (weight * (y - mean)))
        for _ in range(10):
            found = _likelihood(x @ (beta + step), y, weight)
            if found >= best - 1e-9 * abs(best):
                break
            step = step / 2
        beta, best = beta + step, found
        if np.abs(beta * reach).max() > 2 * _LARGEST_CHANGE:
            return beta, True
        if np.abs(step * reach).max() < 1e-9:
            converged = True
            break
    slopes = np.abs(beta * reach)[np.ptp(x, axis=0) > 0]
    return beta, not converged or bool((slopes > _LARGEST_CHANGE).any())


def _firth(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Coefficients under Jeffreys' prior: finite for separated data."""
    beta = np.zeros(x.shape[1])
    for _ in range(4 * _STEPS):
        mean = expit(x @ beta)
        information = _information(x, mean, weight)
        # leverage of one unit of a pattern
        leverage = mean * (1 - mean) * (x * np.linalg.solve(information, x.T).T).sum(1)
        step = np.linalg.solve(information, x.T @ (weight * (y - mean + leverage * (0.5 - mean))))
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        beta = beta + step
        if np.abs(step).max() < 1e-7:
            break
    return beta


def _linear(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats, float]:
    gram = (x * weight[:, None]).T @ x
    beta = np.asarray(np.linalg.solve(gram, x.T @ (weight * y)), dtype=np.float64)
    residual = y - x @ beta
    n = weight.sum()
    variance = float((weight * residual**2).sum() / n)
    influence = _solved(gram / n, x * residual[:, None])
    return beta, np.column_stack([influence, residual**2 - variance]), variance
