"""Gaps of areas under the curve and of average precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from one_condition import data
from sklearn.metrics import average_precision_score

from vlbias.analysis import curve_gaps
from vlbias.analysis.curve_gaps import ap_gaps, auc_gaps, superiority_gaps
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


def tied(n: int = 600) -> tuple[Panel, np.ndarray]:
    """Half precision and a floor: most scores have equals."""
    rng = np.random.default_rng(5)
    group = np.where(rng.random(n) < 0.7, "a", "b")
    present = rng.random((n, 2)) < np.where(group == "a", 0.4, 0.15)[:, None]
    scores = np.round(np.maximum(rng.standard_normal((n, 2)) + present, 0.3), 1)
    ids = np.arange(n).astype(str)
    return Panel(ids, ids, group, np.repeat("t", n), ("x", "y"), present), scores


def delong(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    wins = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    spread = wins.mean(1).var(ddof=1) / len(x) + wins.mean(0).var(ddof=1) / len(y)
    return wins.mean(), spread


def test_equal_scores_count_half_in_gaps_and_errors() -> None:
    panel, scores = tied()
    a, b = panel.group == "a", panel.group == "b"
    found = superiority_gaps(panel, scores, permutations=0, rng=np.random.default_rng(0))
    assert np.isnan(found.p)
    rng = np.random.default_rng(0)
    auc = auc_gaps(panel, scores, min_present=5, permutations=0, rng=rng).objects
    for k in range(2):
        absent, there = ~panel.present[:, k], panel.present[:, k]
        value, spread = delong(scores[absent & a, k], scores[absent & b, k])
        assert found.objects["gap_a_b"][k] == pytest.approx(value - 0.5)
        assert found.objects["se_a_b"][k] == pytest.approx(np.sqrt(spread))
        parts = [delong(scores[there & g, k], scores[absent & g, k]) for g in (a, b)]
        assert auc["gap_a_b"][k] == pytest.approx(parts[0][0] - parts[1][0])
        assert auc["se_a_b"][k] == pytest.approx(np.sqrt(parts[0][1] + parts[1][1]))


def test_the_order_of_tied_rows_changes_nothing() -> None:
    panel, scores = tied()
    order = np.argsort(panel.group, kind="stable")
    names = np.char.zfill(np.arange(len(order)).astype(str), 5)
    both = [
        superiority_gaps(
            Panel(names, names, panel.group[rows], names, panel.targets, panel.present[rows]),
            scores[rows], permutations=19, rng=np.random.default_rng(0),
        ).objects
        for rows in (order, order[::-1])
    ]  # fmt: skip
    assert both[0]["gap_a_b"].tolist() == pytest.approx(both[1]["gap_a_b"].tolist())
    assert both[0]["se_a_b"].tolist() == pytest.approx(both[1]["se_a_b"].tolist())


@pytest.mark.parametrize("gaps", [ap_gaps, auc_gaps])
def test_groups_that_differ_in_prevalence_are_not_rejected_more(gaps: Callable[..., Any]) -> None:
    """Labels permuted over all images reject in 18 to 72 % of such data sets."""
    rejected = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        group = np.repeat(["a", "b"], [300, 300])
        present = rng.random((600, 6)) < np.where(group == "a", 0.4, 0.08)[:, None]
        scores = rng.standard_normal((600, 6)) + present
        ids = np.arange(600).astype(str)
        panel = Panel(ids, ids, group, ids, tuple("uvwxyz"), present)
        rejected.append(gaps(panel, scores, min_present=10, permutations=59, rng=rng).p <= 0.05)
    assert np.mean(rejected) <= 0.125


def test_copies_of_images_in_a_cluster_add_no_information() -> None:
    panel, scores = tied(300)
    names = np.arange(600).astype(str)
    double = Panel(
        names, np.tile(panel.cluster, 2), np.tile(panel.group, 2), names, panel.targets,
        np.tile(panel.present, (2, 1)),
    )  # fmt: skip
    one, two = (
        superiority_gaps(p, y, permutations=0, rng=np.random.default_rng(0)).objects["se_a_b"]
        for p, y in ((panel, scores), (double, np.tile(scores, (2, 1))))
    )
    assert two.tolist() == pytest.approx(one.tolist(), rel=0.01)


@pytest.mark.parametrize(
    ("gaps", "least"),
    [(ap_gaps, {"min_present": 5}), (auc_gaps, {"min_present": 5}), (superiority_gaps, {})],
)
def test_blocks_of_draws_move_no_number(
    gaps: Callable[..., Any], least: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, scores = data(600)

    def found() -> Any:
        return gaps(panel, scores, permutations=19, rng=np.random.default_rng(0), **least)

    at_once = found()
    monkeypatch.setattr(curve_gaps, "_NUMBERS", 4200)  # seven draws a block
    in_blocks = found()
    # sums of precision are of single numbers, which a matrix product adds in an order of its own
    close = {"rtol": 1e-5, "atol": 1e-7} if gaps is ap_gaps else {"rtol": 0.0, "atol": 0.0}
    pd.testing.assert_frame_equal(in_blocks.objects, at_once.objects, **close)
    assert (at_once.objects["status"] == "ok").any()
    for name in ("plugin", "floor", "p", "squared_floor"):
        np.testing.assert_allclose(getattr(in_blocks, name), getattr(at_once, name), **close)
