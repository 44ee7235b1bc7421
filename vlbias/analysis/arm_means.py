"""Means of the four arms of given equations: sums over the states of all mediators.

Each state has a probability in every covariate row. Binary mediators have two states, continuous ones the nodes
of a Gauss-Hermite quadrature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.covariate_patterns import Patterns
from vlbias.causal.equation import Equation, design

__all__ = ["ARMS", "arm_means", "mean_and_gradient", "worlds_of"]

Floats = NDArray[np.float64]
ARMS = ("00", "01", "10", "11")
"""World of the direct input, world of the mediators; the order of all means and covariances."""
NODES = 32
"""Quadrature nodes of a continuous mediator; three are exact where all that follows is linear in it."""


def arm_means(
    equations: Sequence[Equation],
    exposure: str,
    rows: Patterns,
    *,
    direct: Sequence[str] = (),
    levels: tuple[float, float] = (0.0, 1.0),
) -> Floats:
    """The means of `ARMS` [4] of given equations over covariate rows, without errors."""
    means = []
    for arm in ARMS:
        worlds = worlds_of(equations, arm, direct, levels)
        value = np.zeros(len(rows))
        for state in _states(equations, worlds, exposure, rows):
            value += state.probability * equations[-1].mean(state.at(worlds[-1]), len(rows))
        means.append(rows.weight @ value / rows.n)
    return np.array(means)


def worlds_of(
    equations: Sequence[Equation], arm: str, direct: Sequence[str], levels: tuple[float, float]
) -> list[float]:
    """The exposure that each equation sees in an arm; the outcome's is the last."""
    a, b = (levels[int(world)] for world in arm)
    return [a if one.name in direct else b for one in equations[:-1]] + [a]


@dataclass
class _State:
    """One state of all mediators: its probability, and how that depends on coefficients."""

    values: dict[str, Floats | float]
    probability: Floats
    scores: list[tuple[Floats, Floats, Floats | None]]
    exposure: str

    def at(self, world: float) -> Mapping[str, Floats]:
        return {**self.values, self.exposure: np.asarray(world)}  # type: ignore[dict-item]


def mean_and_gradient(
    equations: Sequence[Equation], exposure: str, worlds: Sequence[float], rows: Patterns
) -> tuple[Floats, list[Floats]]:
    """The expected outcome of each row, [R], and the mean's gradient in every equation's coefficients."""
    outcome, n = equations[-1], len(rows)
    share = rows.weight / rows.n
    value = np.zeros(n)
    gradients = [np.zeros(len(one.terms) + (one.family == "continuous")) for one in equations]
    for state in _states(equations, worlds, exposure, rows):
        x = design(outcome.terms, state.at(worlds[-1]), n)
        mean = outcome.mean(state.at(worlds[-1]), n)
        part = state.probability * mean
        value += part
        slope = mean * (1 - mean) if outcome.family == "binary" else 1.0
        gradients[-1][: x.shape[1]] += (share * state.probability * slope) @ x
        for place, (columns, score, of_variance) in enumerate(state.scores):
            gradients[place][: columns.shape[1]] += (share * part * score) @ columns
            if of_variance is not None:
                gradients[place][-1] += (share * part) @ of_variance
    return value, gradients


def _states(
    equations: Sequence[Equation], worlds: Sequence[float], exposure: str, rows: Patterns
) -> Iterator[_State]:
    """Every state of the mediators with its probability in each row, [R]."""
    n, mediators = len(rows), equations[:-1]
    nodes = [_nodes(one, equations[place + 1 :]) for place, one in enumerate(mediators)]
    for choice in product(*nodes):
        state = _State(dict(rows.columns), np.ones(n), [], exposure)
        for equation, world, pick in zip(mediators, worlds, choice, strict=False):
            x = design(equation.terms, state.at(world), n)
            mean = equation.mean(state.at(world), n)
            value, probability, score, of_variance = pick(mean, equation.variance)
            state.scores.append((x, score, of_variance))
            state.values[equation.name] = value
            state.probability = state.probability * probability
        yield state


_Pick = Callable[[Floats, float], tuple[Floats | float, Floats | float, Floats, Floats | None]]
"""From mean and residual variance to value, probability, and scores by predictor and by variance."""


def _nodes(equation: Equation, later: Sequence[Equation]) -> list[_Pick]:
    if equation.family == "binary":
        return [_binary(0.0), _binary(1.0)]
    count = 3 if all(one.family == "continuous" for one in later) else NODES
    places, weights = np.polynomial.hermite_e.hermegauss(count)
    total = weights.sum()
    return [_normal(float(z), float(w / total)) for z, w in zip(places, weights, strict=True)]


def _binary(state: float) -> _Pick:
    def pick(
        mean: Floats, variance: float
    ) -> tuple[Floats | float, Floats | float, Floats, Floats | None]:
        return state, mean if state else 1 - mean, state - mean, None

    return pick


def _normal(z: float, weight: float) -> _Pick:
    def pick(
        mean: Floats, variance: float
    ) -> tuple[Floats | float, Floats | float, Floats, Floats | None]:
        sd = variance**0.5
        ones = np.ones(len(mean))
        return mean + sd * z, weight, ones * z / sd, ones * (z**2 - 1) / (2 * variance)

    return pick
