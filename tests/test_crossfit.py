"""The cross-fit sum of gaps, drawn and in closed form, and how much of gaps is noise."""

from __future__ import annotations

import numpy as np
import pytest
from one_condition import ZERO, data, run

from vlbias.analysis.arm_estimates import _centre_of_change
from vlbias.analysis.functionals import (
    crossfit,
    crossfit_target,
    shrinkage,
    shrinkage_in_square,
)
from vlbias.analysis.object_support import support
from vlbias.analysis.range_crossfit import cell_sums, crossfit_halvings
from vlbias.analysis.rates import measure_rates


def test_closed_form_crossfit_is_the_mean_over_normal_halvings():
    rng = np.random.default_rng(0)
    gap, spread = np.array([[0.3, -1.2, 0.0]]), np.array([[0.5, 0.7, 1.0]])
    e = rng.standard_normal((400_000, 1, 3)) * spread
    drawn = (np.sign(gap + e) * (gap - e)).sum(axis=(1, 2))
    assert crossfit(gap, spread) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 632)


def test_crossfit_is_unbiased_for_its_target_which_never_exceeds_b():
    rng = np.random.default_rng(1)
    gap, spread = np.array([[0.0, 0.4, -2.0]]), np.array([[1.0, 0.5, 0.6]])
    drawn = crossfit(gap + rng.standard_normal((200_000, 1, 3)) * spread, spread)
    target = crossfit_target(gap, spread)
    assert drawn.mean() == pytest.approx(target, abs=4 * drawn.std() / 447)
    assert target < np.abs(gap).sum()


def test_drawn_halvings_agree_with_the_closed_form():
    panel, scores = data(3000)
    used = support(panel, scores, ZERO)
    rates = measure_rates(panel, scores, "fpr", ZERO, objects=used)
    sums = cell_sums(panel, scores, "fpr", ZERO, used)
    drawn = crossfit_halvings(*sums, panel.layout, halvings=2000, rng=np.random.default_rng(0))
    assert drawn == pytest.approx(float(crossfit(rates.gap, rates.spread)), abs=0.01)


def test_no_seed_moves_the_crossfit_of_pairs_nor_that_of_the_range_of_two_groups():
    panel, scores = data(300)
    values = {
        run(panel, scores, aggregate=aggregate, rng=np.random.default_rng(seed)).crossfit
        for aggregate in ("pairwise", "range")
        for seed in (1, 2)
    }
    assert len(values) == 1


def test_gaps_that_are_noise_are_shrunk_to_nothing_unless_they_are_few():
    noise = np.random.default_rng(0).standard_normal((1, 400))
    assert shrinkage(noise, np.ones((1, 400))).max() < 0.3
    assert np.median(shrinkage(10 * noise, np.ones((1, 400)))) > 0.98
    assert (shrinkage(noise[:, :5], np.ones((1, 5))) == 1.0).all()


def test_noise_beside_large_gaps_is_shrunk_and_the_large_gaps_are_not():
    rng = np.random.default_rng(1)
    true = np.concatenate([np.zeros(60), 8 * rng.choice([-1.0, 1.0], 20)])[None]
    gap = true + rng.standard_normal(true.shape)
    factor = shrinkage(0.01 * gap, np.full(true.shape, 0.01))
    assert factor[true == 0].mean() < 0.2
    assert factor[true != 0].min() > 0.9
    # one factor for all would be 1 - 80 / sum of squares, and leave nearly all of the noise
    assert np.abs(factor * gap - true).mean() < 0.6 * np.abs(gap - true).mean()


def test_what_is_shrunk_in_square_has_the_square_of_the_true_gaps():
    rng = np.random.default_rng(2)
    true = np.where(rng.random(20_000) < 0.4, 2 * rng.standard_normal(20_000), 0.0)[None]
    gap = true + rng.standard_normal(true.shape)
    spread = np.ones(true.shape)
    kept = shrinkage_in_square(gap, spread) * gap
    assert (kept**2).mean() == pytest.approx((true**2).mean(), rel=0.03)
    assert ((shrinkage(gap, spread) * gap) ** 2).mean() < 0.85 * (true**2).mean()


def test_objects_that_all_move_a_little_are_not_taken_to_stand_still():
    rng = np.random.default_rng(3)
    error = 0.013 * rng.standard_normal((400, 1, 60))
    spread = np.full((1, 60), 0.013)
    moved = np.stack([_centre_of_change(0.02 + one, spread, error) for one in error[:100]])
    assert moved.mean() == pytest.approx(0.02, rel=0.03)
    assert (moved**2).mean() == pytest.approx(0.02**2, rel=0.15)
    still = np.stack([_centre_of_change(one, spread, error) for one in error[:100]])
    assert (still**2).mean() < 0.2 * 0.013**2
    assert not _centre_of_change(np.zeros((1, 60)), np.zeros((1, 60)), 0 * error).any()
