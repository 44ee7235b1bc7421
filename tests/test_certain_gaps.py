"""A gap without sampling error is certain, and no gap without error is no gap."""

from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.corrections import step_down
from vlbias.analysis.curve_gaps import superiority_gaps
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import effects
from vlbias.analysis.functionals import certainty, crossfit, crossfit_target
from vlbias.analysis.inference import permutation_p
from vlbias.analysis.panel import Panel

K = 12
HALF = np.full(K, 0.5)


def split(n: int = 120, shift: float = 0.0) -> tuple[Panel, np.ndarray]:
    """Two groups: every object is seen in each photo of the first and in none of the second."""
    group = np.repeat(["a", "b"], n // 2)
    ids, names = np.arange(n), tuple(f"object {k}" for k in range(K))
    panel = Panel(ids, ids, group, np.full(n, "test"), names, np.zeros((n, K), bool))
    scores = np.where(group == "a", 1.0, 0.0)[:, None] * np.ones(K) + shift
    return panel, scores


def test_a_gap_of_exactly_one_in_every_object_is_certain():
    panel, scores = split()
    found = disparity(panel, scores, HALF, rng=np.random.default_rng(0), permutations=50, draws=50)
    assert (found.plugin, found.crossfit, found.lo, found.hi) == (K, K, K, K)
    assert (found.crossfit_lo, found.crossfit_hi) == (K, K)


def test_no_gap_without_error_is_zero_and_noise_stays_noise():
    gap, spread = np.array([[0.0, -1.0, 0.3, np.float64(0.0)]]), np.array([[0.0, 0.0, 0.3, 0.2]])
    assert certainty(gap, spread)[0, :2].tolist() == [0.0, -1.0]
    assert abs(certainty(gap, spread)[0, 2]) < 1
    assert crossfit(gap[:, :2], spread[:, :2]) == 1.0
    assert crossfit_target(gap[:, :2], spread[:, :2]) == 1.0


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_gaps_that_change_from_one_to_none_are_counted_whole(kind):
    panel, scores = split()
    found = effects(
        panel, scores.astype(kind), np.zeros_like(scores, kind), thresholds=HALF, draws=50,
        rng=np.random.default_rng(0), objects=np.arange(K),
    )  # fmt: skip
    table = found.table.set_index("functional")
    assert table.loc[["B_crossfit", "B_lin"], "estimate"].tolist() == [-K, -K]
    assert (table.loc[["B_crossfit", "B_lin"], "p_adjusted"] < 0.05).all()


def test_a_certain_effect_is_the_most_significant_of_many():
    drawn = np.abs(np.random.default_rng(0).standard_normal((99, 3)))
    adjusted = step_down(np.array([np.inf, 0.1, 0.0]), drawn)
    assert adjusted[0] == 0.01
    assert adjusted[2] == 1.0
    assert permutation_p(np.inf, np.array([1.0, np.inf, 2.0])) == 0.5


def test_scores_that_never_overlap_are_certain():
    panel, scores = split()
    scores = scores + np.linspace(0, 0.1, len(scores))[:, None]
    found = superiority_gaps(panel, scores, permutations=30, rng=np.random.default_rng(0))
    assert found.crossfit == pytest.approx(K / 2)
    assert found.p == pytest.approx(1 / 31)
