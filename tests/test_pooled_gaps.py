"""Gaps that learn from all objects: limits that cover on average, and the shape of the bias."""

from __future__ import annotations

import numpy as np
import pytest
from one_condition import data

from vlbias.analysis.pooled_gaps import (
    bias_shape,
    critical_value,
    pooled_columns,
    pooled_gaps,
    worst_error,
)
from vlbias.analysis.rates import Rates, measure_rates
from vlbias.analysis.simulated_scores import PlantedWorld, SimulatedCondition

K = 60


@pytest.mark.parametrize(
    ("square", "kurtosis", "level", "want"),
    [(4, np.inf, 0.95, 7.2164), (25, 3, 0.95, 11.88358), (1, 3, 0.8, 1.84947), (7.84, 8, 0.9, 7.07797)],
)  # fmt: skip
def test_critical_values_are_those_of_the_authors(
    square: float, kurtosis: float, level: float, want: float
) -> None:
    """Of the R package `ebci` (its tests, and the example of its manual)."""
    assert critical_value(square, kurtosis, level) == pytest.approx(want, rel=2e-3)
    assert worst_error(7.13243, 7.84, 8) == pytest.approx(0.09805, abs=2e-4)


def rates_of(bias: np.ndarray, n: int, seed: int) -> tuple[Rates, np.ndarray]:
    world = PlantedWorld(np.zeros(K), np.full(K, -1.0), bias, 0.7)
    nothing = SimulatedCondition(agreement=1.0)
    panel, scores = world.draw(n, {"null": nothing}, np.random.default_rng(seed))
    return measure_rates(panel, scores["null"], "fpr", np.zeros(K)), world.gaps(nothing)[0]


@pytest.mark.parametrize("kind", ["none", "many small", "few large"])
def test_pooled_limits_cover_and_pooled_gaps_are_nearer(kind: str) -> None:
    draw = np.random.default_rng(1)
    bias = {
        "none": np.zeros(K),
        "many small": 0.25 * draw.standard_normal(K),
        "few large": np.where(np.arange(K) < 5, 1.2 * draw.choice([-1, 1], K), 0.0),
    }[kind]
    held, error, plain = [], [], []
    for seed in range(40):
        rates, truth = rates_of(bias, 400, seed)
        found = pooled_gaps(rates)
        held.append(((found.lo <= truth) & (truth <= found.hi)).mean())
        error.append(((found.gap - truth) ** 2).sum())
        plain.append(((rates.gap[0] - truth) ** 2).sum())
    assert np.mean(held) >= 0.94
    assert np.mean(error) < np.mean(plain)


def test_few_objects_are_left_as_they_are() -> None:
    panel, scores = data(600)
    rates = measure_rates(panel, scores, "fpr", np.zeros(scores.shape[1]), objects=np.arange(4))
    found = pooled_gaps(rates)
    assert found.status == "few objects"
    assert found.gap.tolist() == rates.gap[0].tolist()
    table = pooled_columns(["a", "b", "c", "d"], rates)
    assert table.columns.tolist() == ["object", "pooled", "pooled_lo", "pooled_hi"]
    assert pooled_columns([], rates).empty


def test_the_shape_tells_few_large_gaps_from_many_small_ones() -> None:
    few = np.where(np.arange(K) < 4, 1.5, 0.0)
    many = np.where(np.arange(K) % 2, 0.3, -0.3)
    shapes = {}
    for name, bias in (("few", few), ("many", many), ("none", np.zeros(K))):
        rates, truth = rates_of(bias, 6000, 0)
        table = bias_shape(rates, draws=200, rng=np.random.default_rng(0)).set_index("what")
        shapes[name] = table["value"]
        if name != "none":
            want = np.abs(truth).sum() ** 2 / (truth**2).sum()
            assert table["value"]["objects that carry the bias"] == pytest.approx(want, rel=0.25)
    assert shapes["few"]["share of the largest tenth"] > 0.9
    assert shapes["many"]["share of the largest tenth"] < 0.3
    assert shapes["none"]["objects"] == K
