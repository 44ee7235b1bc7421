"""One structural equation: how a variable depends on those before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Equation", "Family", "Term", "design", "expit"]

Family = Literal["binary", "continuous"]
"""Logistic regression of a 0/1 variable, or linear regression with normal residuals."""
Term = tuple[str, ...]
"""Names whose product is a term; the empty one is the intercept."""


@dataclass(frozen=True)
class Equation:
    """A variable as a function of exposure, earlier mediators and covariates.

    Args:
        name: The variable.
        family: "binary" (logit) or "continuous" (identity, normal residuals).
        terms: Products of names, in the order of the coefficients.
        coefficients: One for each term.
        variance: Of the residuals, where the variable is continuous.
    """

    name: str
    family: Family
    terms: tuple[Term, ...]
    coefficients: tuple[float, ...]
    variance: float = 0.0

    def predictor(self, values: Mapping[str, NDArray[np.float64]], n: int) -> NDArray[np.float64]:
        """The linear predictor [n] at given values of the names in the terms."""
        predicted: NDArray[np.float64] = design(self.terms, values, n) @ np.array(self.coefficients)
        return predicted

    def mean(self, values: Mapping[str, NDArray[np.float64]], n: int) -> NDArray[np.float64]:
        """The expected value [n]: a probability, where the variable is binary."""
        eta = self.predictor(values, n)
        return expit(eta) if self.family == "binary" else eta


def design(terms: tuple[Term, ...], values: Mapping[str, Any], n: int) -> NDArray[np.float64]:
    """Columns [n, terms]; a value may be one number for all rows."""
    columns = np.ones((n, len(terms)))
    for place, term in enumerate(terms):
        for name in term:
            columns[:, place] *= values[name]
    return columns


def expit(eta: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-eta)), without overflow."""
    probability: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * eta))
    return probability
