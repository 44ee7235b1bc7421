"""Performance before and after: every statistic against scikit-learn or by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vlbias.analysis import retention
from vlbias.analysis.panel import Panel
from vlbias.errors import BadTable
from vlbias.studies.mitigation.numbers import Tables
from vlbias.studies.mitigation.work.scores import mid_ranks
from vlbias.studies.photos.scores import presence_map


def panel(present: np.ndarray, group: list[str] | None = None) -> Panel:
    names = np.array([f"photo {i}" for i in range(len(present))])
    groups = np.array(group or ["a", "b"] * (len(present) // 2))
    classes = tuple(f"class {k}" for k in range(present.shape[1]))
    return Panel(names, names, groups, np.full(len(names), "test"), classes, present, ("a", "b"))


def drawn(rows: int = 40, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    present = rng.random((rows, classes)) < 0.3
    # rounded, so that scores repeat
    scores = np.round(rng.normal(size=(rows, classes)) + present, 1)
    return present, scores


def test_precision_is_that_of_scikit_learn_also_under_weights() -> None:
    present, scores = drawn()
    weights = retention.image_weights(panel(present), 5, np.random.default_rng(0))
    found = retention.precisions(present, scores, weights)
    for row, counts in zip(found, weights.astype(int), strict=True):
        repeated = np.repeat(np.arange(len(present)), counts)
        for k, value in enumerate(row):
            expected = average_precision_score(present[repeated, k], scores[repeated, k])
            assert value == pytest.approx(expected, abs=1e-12)


def test_the_mean_is_the_page_s_and_rare_classes_are_left_out() -> None:
    present, scores = drawn()
    present[:, 2] = False
    present[:2, 2] = True
    weights = retention.image_weights(panel(present), 3, np.random.default_rng(0))
    found = retention.precisions(present, scores, weights)
    assert np.isnan(found[:, 2]).all()
    mean = retention.mean_precision(found, np.arange(3))
    assert mean[0] == pytest.approx(presence_map(present, scores))
    with pytest.raises(BadTable, match="more photos"):
        retention.mean_precision(found, np.array([2]))


def test_weights_resample_clusters_and_begin_with_the_images_as_they_are() -> None:
    present = np.zeros((4, 1), bool)
    one = panel(present)
    two = Panel(
        one.sample, np.array(["x", "x", "y", "z"]), one.group, one.split, one.targets, present
    )
    weights = retention.image_weights(two, 50, np.random.default_rng(0))
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    assert (weights[:, [0, 2, 3]][1:].sum(axis=1) == 3).all(), "three clusters are drawn"


def test_precision_gap_by_hand() -> None:
    # group a ranks its 3 photos with the class first (AP 1), group b last of 6 (AP by hand)
    group = ["a"] * 6 + ["b"] * 6
    present = np.array([[1], [1], [1], [0], [0], [0]] * 2, bool)
    scores = np.array([6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6], float)[:, None]
    last = (1 / 4 + 2 / 5 + 3 / 6) / 3
    one = panel(present, group)
    gap = retention.precision_gap(one, scores, np.ones((1, 12)), np.array([0]))
    assert gap[0] == pytest.approx(1 - last)


def test_recall_and_ranks_by_hand() -> None:
    scores = np.array([[3.0, 1.0, 2.0], [5.0, 4.0, 4.0], [0.0, 0.0, 9.0]])
    ranks = mid_ranks(scores)
    # photo 1's own caption is behind one and ties with another
    np.testing.assert_array_equal(ranks[:, 0], [1, 2.5, 1])
    np.testing.assert_array_equal(ranks[:, 1], [2, 1, 1])
    weights = np.array([[1.0, 1.0, 1.0], [0.0, 3.0, 0.0]])
    found = retention.recalls(ranks[:, 0], weights, (1, 3))
    np.testing.assert_allclose(found[1], [2 / 3, 0.0])
    np.testing.assert_allclose(found[3], [1.0, 1.0])


def test_a_model_that_scores_all_alike_is_not_called_perfect() -> None:
    assert (mid_ranks(np.zeros((11, 11))) == 6).all()


def test_auc_is_that_of_scikit_learn_also_under_weights() -> None:
    rng = np.random.default_rng(1)
    own = rng.random(50) < 0.4
    score = np.round(rng.normal(size=50) + own, 1)
    weights = rng.integers(0, 3, (4, 50)).astype(float)
    found = retention.group_auc(score, own, weights)
    for value, counts in zip(found, weights.astype(int), strict=True):
        repeated = np.repeat(np.arange(50), counts)
        assert value == pytest.approx(roc_auc_score(own[repeated], score[repeated]))


@pytest.mark.parametrize(
    ("loss", "verdict"), [(0.001, "kept"), (0.02, "not shown"), (0.2, "lost"), (-0.1, "kept")]
)
def test_verdicts_ask_for_the_whole_interval(loss: float, verdict: str) -> None:
    before = np.concatenate([[0.5], np.full(100, 0.5)])
    noise = np.linspace(-0.005, 0.005, 100)
    after = before - loss + np.concatenate([[0.0], noise])
    found = retention.compare_retention(before, after, margin=0.02)
    assert found.verdict == verdict
    assert found.change == pytest.approx(-loss)
    assert found.lo == pytest.approx(-loss - 1.96 * noise.std(), abs=1e-5)


def test_what_is_smaller_than_its_margin_has_no_say() -> None:
    before, nothing = np.full(101, 0.015), np.zeros(101)
    assert retention.compare_retention(before, nothing, margin=0.02).verdict == ""
    assert retention.compare_retention(before, nothing, margin=0.01).verdict == "lost"


@pytest.mark.parametrize(
    ("values", "metric"), [((0.4, 0.5), "AP"), ((0.01, 0.5), "mAP"), ((0.01, 0.015), "AP")]
)
def test_bias_is_drawn_against_the_first_metric_that_has_something_to_lose(
    values: tuple[float, float], metric: str
) -> None:
    names = ["mAP", "AP", "AR"]
    retention_rows = pd.DataFrame({"metric": names, "margin": [0.02, 0.02, np.nan]})
    choice = pd.DataFrame({"role": ["none"], "AP": values[:1], "mAP": values[1:]})
    none = pd.DataFrame()
    tables = Tables(none, choice, none, none, retention_rows, none, none)
    assert tables.margins == {"AP": 0.02, "mAP": 0.02}
    assert tables.metric == metric


def test_limits_hold_the_expected_precision_and_quantiles_of_the_draws_do_not() -> None:
    rng = np.random.default_rng(0)
    estimates, ours, theirs = [], [], []
    for _ in range(60):
        present = rng.random((187, 40)) < 0.04
        scores = rng.normal(size=present.shape) + 1.5 * present
        weights = retention.image_weights(panel(present, ["a"] * 187), 100, rng)
        found = retention.precisions(present, scores, weights)
        mean = retention.mean_precision(found, np.arange(40))
        estimates.append(mean[0])
        ours.append(retention.limits(mean))
        theirs.append(np.quantile(mean[1:], [0.025, 0.975]))
    truth = np.mean(estimates)
    held, missed = (
        np.mean([lo <= truth <= hi for lo, hi in several]) for several in (ours, theirs)
    )
    assert held >= 0.85
    assert missed < held - 0.05


def test_no_margin_no_verdict_and_the_worst_of_several() -> None:
    same = np.full(11, 0.5)
    assert retention.compare_retention(same, same).verdict == ""
    assert retention.worst({"a": "kept", "b": ""}) == "kept"
    assert retention.worst({"a": "kept", "b": "not shown"}) == "not shown"
    assert retention.worst({"a": "not shown", "b": "lost"}) == "lost"
