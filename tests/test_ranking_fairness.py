from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.functionals import crossfit
from vlbias.analysis.group_calibration import calibration_gap
from vlbias.analysis.group_dimensions import (
    drop_dimensions,
    informative_dimensions,
    require_disjoint,
)
from vlbias.analysis.ranking_fairness import (
    bias_amplification,
    bias_at_k,
    max_skew,
    ndkl,
    parity_gaps,
    ranking_table,
)
from vlbias.errors import BadData, BadStudy, BadTable

HALF = np.repeat(["a", "b"], 100)
SORTED = np.arange(200)[::-1].astype(float)


def test_max_skew_of_a_perfectly_sorted_half_is_log_two():
    assert max_skew(SORTED, HALF, 100) == pytest.approx(np.log(2))
    assert max_skew(SORTED, HALF, 50) == pytest.approx(np.log(2))
    alternating = np.tile(["a", "b"], 100)
    assert max_skew(SORTED, alternating, 100) == pytest.approx(0.0)


def test_skew_of_the_whole_pool_says_nothing_and_is_refused():
    # debias-vision-lang ranks everything (topn = 1.0): 0 for random and for sorted scores alike
    random = np.random.default_rng(0).random(200)
    for scores in (random, SORTED):
        with pytest.raises(BadStudy, match="200"):
            max_skew(scores, HALF, 200)
    assert max_skew(random, HALF, 100) < 0.2 < max_skew(SORTED, HALF, 100)


def test_max_skew_against_other_desired_shares():
    assert max_skew(SORTED, HALF, 10, {"a": 0.8, "b": 0.2}) == pytest.approx(np.log(1 / 0.8))
    with pytest.raises(BadStudy, match="desired"):
        max_skew(SORTED, HALF, 10, {"a": 0.8, "b": 0.3})


def test_ndkl_by_hand():
    # order a, b: tops are {a: 1}, {a: 1/2, b: 1/2}; divergences log 2 and 0
    weights = 1 / np.log2([2, 3])
    want = weights[0] * np.log(2) / weights.sum()
    assert ndkl([2.0, 1.0], ["a", "b"]) == pytest.approx(want)
    assert ndkl(SORTED, HALF) > ndkl(SORTED, np.tile(["a", "b"], 100)) > 0


def test_bias_at_k_and_unequal_pools():
    # five images of one group, ten of the other, in any layout: nothing is hard-wired
    groups = np.array(["m"] * 5 + ["f"] * 10)
    scores = np.arange(15)[::-1].astype(float)
    assert bias_at_k(scores, groups, 10, ("m", "f")) == 0.0
    assert bias_at_k(scores, groups, 5, ("m", "f")) == 1.0
    assert bias_at_k(scores, groups, 15, ("m", "f")) == pytest.approx(-1 / 3)
    assert bias_at_k(scores, np.repeat("x", 15), 5, ("m", "f")) == 0.0
    mixed = np.random.default_rng(0).permutation(15)
    assert bias_at_k(scores[mixed], groups[mixed], 5, ("m", "f")) == 1.0


def test_every_query_counts_not_only_the_last():
    # SFID appends after the loop, so that only the last text is scored
    scores = np.stack([SORTED, np.tile([2.0, 1.0], 100) - np.repeat(np.arange(100), 2)])
    groups = HALF
    table = ranking_table(scores, groups, ["first", "last"], 50, ("a", "b"))
    assert table["query"].tolist() == ["first", "last", "mean"]
    for column in ("max_skew", "ndkl", "bias_at_k"):
        assert table[column].iloc[2] == pytest.approx(table[column].iloc[:2].mean())
    with pytest.raises(BadTable, match="3"):
        ranking_table(scores, groups, ["a", "b", "c"], 5, ("a", "b"))


def test_demographic_parity_is_not_the_true_positive_gap():
    # SFID's FACET code counts prediction == truth and calls it demographic parity
    groups = np.repeat(["a", "b"], 10)
    truth = np.r_[np.repeat([True, False], [8, 2]), np.repeat([True, False], [2, 8])]
    perfect = parity_gaps(truth, truth, groups)
    assert perfect["equal_opportunity"] == 0.0
    assert perfect["demographic_parity"] == pytest.approx(0.6)


def test_no_gap_is_estimated_as_none_where_the_mean_of_bootstraps_is_noise():
    # SFID prints the mean of 100 bootstraps; for an absolute gap at 0 that mean is mostly noise
    rng = np.random.default_rng(0)
    rates = rng.binomial(50, 0.5, (2000, 2)) / 50
    again = rng.binomial(50, rates) / 50
    gap = (rates[:, 0] - rates[:, 1])[:, None, None]
    error = np.sqrt((rates * (1 - rates)).sum(axis=1) / 49)[:, None, None]
    fitted = crossfit(gap, error)
    assert abs(fitted.mean()) < 3 * fitted.std() / np.sqrt(len(fitted)) + 0.002
    assert np.abs(again[:, 0] - again[:, 1]).mean() > 0.1


def test_bias_amplification_by_hand_in_both_directions():
    # 10 women of whom 6 cook, 10 men of whom 4 cook; predicted 8 and 2
    attribute = np.repeat([[1, 0], [0, 1]], 10, axis=0)
    cook = np.r_[np.repeat([1, 0], [6, 4]), np.repeat([1, 0], [4, 6])][:, None]
    hat = np.r_[np.repeat([1, 0], [8, 2]), np.repeat([1, 0], [2, 8])][:, None]
    estimate, (lo, hi), table = bias_amplification(
        attribute, cook, hat, signs=[[1], [-1]], rng=np.random.default_rng(0)
    )
    assert estimate == pytest.approx(0.2)  # +0.2 for women, -(-0.2) for men
    assert lo < 0.2 < hi
    assert table["delta"].tolist() == pytest.approx([0.2, -0.2])
    # attribute predicted from the task: women among cooks 6/10, predicted 9/10
    women = attribute.copy()
    cooks = np.flatnonzero(cook[:, 0])
    women[cooks] = [[1, 0]] * 9 + [[0, 1]]
    back, _, table = bias_amplification(
        attribute,
        cook,
        women,
        direction="task to attribute",
        signs=[[1], [-1]],
        rng=np.random.default_rng(0),
    )
    assert table["delta"].tolist() == pytest.approx([0.3, -0.3])
    assert back == pytest.approx(0.3)


def test_amplification_of_tasks_without_correlation_is_zero_and_covered():
    # with signs of the same images the estimate is pulled away from 0 and limits cover in 7 of 10
    covered, estimates = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        attribute = np.eye(2)[rng.integers(0, 2, 300)]
        task = (rng.random((300, 20)) < 0.2).astype(float)
        hat = (rng.random((300, 20)) < np.where(task == 1, 0.7, 0.075)).astype(float)
        estimate, (lo, hi), _ = bias_amplification(attribute, task, hat, rng=rng)
        covered.append(lo <= 0 <= hi)
        estimates.append(estimate)
    assert np.mean(covered) > 0.9
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / np.sqrt(150)


def test_empty_cells_are_named_not_dropped_by_nanmean():
    attribute = np.column_stack([np.tile([1, 0], 10), np.tile([0, 1], 10), np.zeros(20)])
    task = np.tile([1, 0], 10)[:, None]
    estimate, _, table = bias_amplification(attribute, task, task, rng=np.random.default_rng(0))
    assert estimate == 0.0
    assert table["status"].tolist() == ["ok", "ok", "insufficient"]
    with pytest.raises(BadTable, match="predicted as task"):
        bias_amplification(attribute, task, np.zeros((20, 2)), rng=np.random.default_rng(0))


def test_amplification_interval_is_over_images():
    rng = np.random.default_rng(0)
    attribute = np.eye(2)[rng.integers(0, 2, 400)]
    task = (rng.random(400) < 0.5)[:, None].astype(float)
    hat = (rng.random(400) < 0.5)[:, None].astype(float)
    _, few, _ = bias_amplification(attribute[:100], task[:100], hat[:100], rng=rng)
    _, many, _ = bias_amplification(attribute, task, hat, rng=rng)
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(2, rel=0.25)


def test_calibration_gap_finds_an_overconfident_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b"], 4000)
    p = rng.random(8000)
    honest = rng.random(8000) < p
    y = np.where(groups == "a", honest, rng.random(8000) < 0.7 * p)
    table = calibration_gap(p, y, groups).set_index("group")
    assert table.loc["a", "in_the_large"] == pytest.approx(0, abs=0.02)
    assert table.loc["b", "in_the_large"] == pytest.approx(0.15, abs=0.02)
    assert table.loc["b", "gap_in_the_large"] == pytest.approx(0.15, abs=0.03)
    assert table.loc["b", "ece"] > table.loc["a", "ece"]
    with pytest.raises(BadTable, match=r"0\.\.1"):
        calibration_gap(p + 1, y, groups)


def test_dimensions_are_ranked_by_information_not_by_position():
    # CLIP-clip (89009e1) computes the order and then takes the first dimensions anyway
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 2, 600)
    features = rng.standard_normal((600, 12))
    features[:, 10] += 3 * groups
    features[:, 7] += 1.5 * groups
    found = informative_dimensions(features, groups, 2, seed=0)
    assert found.tolist() == [10, 7]


def test_dropping_dimensions_keeps_unit_length():
    features = np.random.default_rng(0).standard_normal((5, 6))
    kept = drop_dimensions(features, [0, 3])
    assert np.linalg.norm(kept, axis=1) == pytest.approx(np.ones(5))
    assert (kept[:, [0, 3]] == 0).all()


def test_fitting_on_the_images_that_are_evaluated_is_refused():
    require_disjoint(["a", "b"], ["c"])
    with pytest.raises(BadData, match="'b'"):
        require_disjoint(["a", "b"], ["b", "c"])


def test_ranking_refuses_missing_scores():
    with pytest.raises(BadTable, match="NaN"):
        ndkl([np.nan, 1.0], ["a", "b"])
