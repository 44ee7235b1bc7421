"""Gaps of areas under the curve and of average precision."""

from __future__ import annotations

import numpy as np
import pytest
from one_condition import data
from sklearn.metrics import average_precision_score

from vlbias.analysis.curve_gaps import ap_gaps, superiority_gaps
from vlbias.analysis.panel import Panel


def test_superiority_equals_the_pairwise_definition_and_finds_bias():
    panel, scores = data(1500)
    found = superiority_gaps(panel, scores, permutations=99, rng=np.random.default_rng(0))
    rows = ~panel.present[:, 0]
    a = scores[rows & (panel.group == "a"), 0][:, None]
    b = scores[rows & (panel.group == "b"), 0][None]
    want = (a > b).mean() + 0.5 * (a == b).mean() - 0.5
    assert found.objects["gap_a_b"][0] == pytest.approx(want)
    assert found.p == pytest.approx(0.01)
    below = (a > b).mean(1), (a > b).mean(0)  # placements of either group in the other
    error = np.sqrt(below[0].var(ddof=1) / len(a) + below[1].var(ddof=1) / b.shape[1])
    assert found.objects["se_a_b"][0] == pytest.approx(error, rel=1e-6)
    assert found.crossfit < found.plugin
    none = superiority_gaps(*data(1500, biased=0.0), permutations=99, rng=np.random.default_rng(0))
    assert abs(none.crossfit) < 0.2 * found.crossfit
    assert none.plugin == pytest.approx(none.floor, rel=0.35)


def test_ap_gap_is_zero_for_equal_groups_and_counts_insufficient_objects():
    ids = np.arange(400).astype(str)
    group = np.tile(["a", "b"], 200)
    present = np.zeros((400, 2), bool)
    present[:200, 0] = True
    scores = np.repeat(np.random.default_rng(0).random((200, 2)), 2, axis=0)
    panel = Panel(ids, ids, group, np.repeat("test", 400), ("x", "never"), present)
    found = ap_gaps(panel, scores, permutations=19, rng=np.random.default_rng(0))
    assert found.objects["gap_a_b"][0] == pytest.approx(0.0, abs=1e-12)
    assert found.objects["status"].tolist() == ["ok", "insufficient"]
    better = scores.copy()
    better[present[:, 0] & (group == "a"), 0] += 1  # group a's are always found, so AP is 1
    ap = average_precision_score(present[group == "b", 0], better[group == "b", 0])
    gap = ap_gaps(panel, better, permutations=19, rng=np.random.default_rng(0))
    assert gap.objects["gap_a_b"][0] == pytest.approx(1 - ap)
    assert gap.p == pytest.approx(0.05)


def test_groups_that_differ_in_prevalence_alone_have_no_ap_gap():
    rng = np.random.default_rng(2)
    group = np.tile(["a", "b"], 3000)
    present = (rng.random(6000) < np.where(group == "a", 0.3, 0.1))[:, None]
    scores = rng.standard_normal((6000, 1)) + present
    ids = np.arange(6000).astype(str)
    panel = Panel(ids, ids, group, np.repeat("test", 6000), ("x",), present)
    found = ap_gaps(panel, scores, permutations=49, rng=rng)
    assert found.plugin < 3 * found.floor
    assert found.p > 0.05


def test_scores_that_only_vary_more_in_one_group_are_no_gap():
    rejected = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        group = np.repeat(["a", "b"], [400, 100])
        scores = rng.standard_normal((500, 5)) * np.where(group == "a", 1, 4)[:, None]
        ids = np.arange(500).astype(str)
        none = np.zeros((500, 5), bool)
        panel = Panel(ids, ids, group, np.repeat("t", 500), tuple("vwxyz"), none)
        rejected.append(superiority_gaps(panel, scores, permutations=99, rng=rng).p <= 0.05)
    assert (
        np.mean(rejected) < 0.12
    )  # 5 % and 2.5 standard errors of 60 runs; without studentising it is 18 %
