"""B and its limits: what it is by hand, what leaves it as it is, and what it finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from one_condition import ZERO, data, run, world
from scipy import stats

from vlbias.analysis.disparity import disparity
from vlbias.analysis.object_support import held_out_signs, support
from vlbias.analysis.panel import Panel
from vlbias.analysis.rates import measure_rates
from vlbias.analysis.simulated_scores import SimulatedCondition
from vlbias.errors import BadStudy, BadTable


def by_hand(panel: Panel, scores: np.ndarray) -> float:
    total = 0.0
    for k in range(len(panel.targets)):
        absent = ~panel.present[:, k]
        a, b = (absent & (panel.group == g) for g in panel.groups)
        total += abs((scores[a, k] >= 0).mean() - (scores[b, k] >= 0).mean())
    return total


def test_plugin_is_the_sum_of_absolute_gaps_counted_by_hand():
    panel, scores = data()
    found = run(panel, scores, objects=np.arange(12))
    assert found.plugin == pytest.approx(by_hand(panel, scores), abs=1e-12)


def test_without_bias_plugin_is_floor_and_the_squared_sum_is_unbiased():
    squares, ratio, inside = [], [], 0
    for seed in range(30):
        found = run(*data(800, biased=0.0, seed=seed))
        squares.append(found.squared)
        ratio.append(found.plugin / found.floor)
        inside += found.lo == 0
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.12)
    assert abs(stats.ttest_1samp(squares, 0).statistic) < 3.5
    assert inside >= 25


def test_identical_groups_give_floor_level_values():
    panel, scores = data(600, biased=0.0)
    both = Panel(
        np.concatenate([np.char.add("a", panel.sample), np.char.add("b", panel.sample)]),
        np.concatenate([np.char.add("a", panel.sample), np.char.add("b", panel.sample)]),
        np.repeat(["a", "b"], 600),
        np.repeat("test", 1200),
        panel.targets,
        np.concatenate([panel.present, panel.present]),
    )
    found = run(both, np.concatenate([scores, scores]))
    assert found.plugin == pytest.approx(0.0, abs=1e-12)
    assert found.is_within_floor
    assert found.lo == 0
    assert found.p > 0.9


def test_a_planted_bias_is_found_and_enclosed():
    panel, scores = data(3000)
    found = run(panel, scores)
    used = support(panel, scores, ZERO)
    truth = np.abs(world().gaps(SimulatedCondition())[:, used]).sum()
    assert found.p <= 0.01
    assert not found.is_within_floor
    assert found.lo < truth < found.hi


def test_swapping_group_labels_leaves_b_and_flips_signs():
    panel, scores = data()
    names = np.where(panel.group == "a", "b", "a")
    other = run(panel.relabelled(names), scores)
    one = run(panel, scores)
    for name in ("plugin", "squared", "relative"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-12)
    assert other.signed == pytest.approx(-one.signed, abs=1e-12)
    assert other.hi == pytest.approx(one.hi, rel=0.1)
    used = one.objects["status"] == "ok"
    assert np.allclose(other.objects["gap"][used], -one.objects["gap"][used])
    assert np.allclose(other.objects["lo"][used], -one.objects["hi"][used])


def test_permuting_rows_changes_nothing():
    panel, scores = data()
    rows = np.random.default_rng(8).permutation(len(panel))
    one, other = run(panel, scores), run(panel.take(rows), scores[rows])
    assert one.frame().equals(other.frame())
    assert one.objects.equals(other.objects)


def test_four_shards_put_together_give_what_one_gives():
    panel, scores = data()
    shards = [np.arange(i, len(panel), 4) for i in range(4)]
    rows = np.concatenate(shards)
    assert run(panel.take(rows), scores[rows]).frame().equals(run(panel, scores).frame())


def test_an_object_without_support_changes_nothing_and_is_named_insufficient():
    panel, scores = data()
    wider = Panel(
        panel.sample,
        panel.cluster,
        panel.group,
        panel.split,
        (*panel.targets, "yeti"),
        np.column_stack([panel.present, np.zeros(len(panel), bool)]),
    )
    never = np.column_stack([scores, np.full(len(panel), -9.0)]).astype(np.float32)
    one = run(panel, scores)
    more = disparity(
        wider, never, np.zeros(13), permutations=200, draws=300, rng=np.random.default_rng(3)
    )
    left = ["n_insufficient"]
    pd.testing.assert_frame_equal(
        one.frame().drop(columns=left), more.frame().drop(columns=left), rtol=1e-5
    )
    last = more.objects.iloc[-1]
    assert last["status"] == "insufficient"
    assert np.isnan(last["gap"])


def test_nothing_with_support_is_insufficient_and_never_zero():
    panel, scores = data(60)
    found = run(panel, scores)
    assert found.status == "insufficient"
    assert np.isnan([found.plugin, found.lo, found.p, found.crossfit]).all()


def test_support_needs_counts_and_events_in_every_group():
    group = np.repeat(["a", "b"], [400, 60])
    ids = np.arange(460).astype(str)
    present = np.zeros((460, 3), bool)
    present[400:420, 1] = True  # only 40 negatives in b
    scores = np.full((460, 3), -1.0)
    scores[::10] = 1.0  # 46 events, 6 expected in b
    scores[:, 2] = -1.0
    scores[:30, 2] = 1.0  # 30 events, fewer than 5 expected in b
    panel = Panel(ids, ids, group, np.repeat("test", 460), ("x", "y", "z"), present)
    assert support(panel, scores, np.zeros(3)).tolist() == [0]


@pytest.mark.parametrize("aggregate", ["pairwise", "range"])
def test_three_groups(aggregate):
    panel, scores = data(3000)
    third = np.random.default_rng(0).random(len(panel)) < 0.3
    shifted = scores + 0.5 * third[:, None].astype(np.float32)
    found = run(panel.relabelled(panel.group).take(np.arange(3000)), shifted, aggregate=aggregate)
    names = np.where(third, "c", panel.group)
    three = Panel(panel.sample, panel.cluster, names, panel.split, panel.targets, panel.present)
    wide = run(three, shifted, aggregate=aggregate)
    assert wide.p <= 0.01
    assert wide.lo <= wide.plugin <= wide.hi
    assert wide.crossfit <= wide.plugin
    assert sorted(wide.n) == ["a", "b", "c"]
    rates = measure_rates(three, shifted, "fpr", ZERO).value
    if aggregate == "range":
        assert wide.plugin == pytest.approx((rates.max(0) - rates.min(0)).sum())
        assert wide.plugin > found.plugin
    else:
        pairs = [abs(rates[i] - rates[j]).sum() for i, j in ((0, 1), (0, 2), (1, 2))]
        assert wide.plugin == pytest.approx(np.mean(pairs))


def test_score_measure_recovers_planted_mean_differences():
    panel, scores = data(4000)
    found = disparity(
        panel, scores, measure="score", permutations=200, draws=300, rng=np.random.default_rng(0)
    )
    truth = world().bias
    assert np.allclose(found.objects["gap"], truth, atol=0.2)
    assert found.lo < np.abs(truth).sum() < found.hi


def test_true_positive_gap_uses_images_with_the_object():
    panel, scores = data(2000)
    everywhere = Panel(
        panel.sample, panel.cluster, panel.group, panel.split, panel.targets, ~panel.present
    )
    one = measure_rates(panel, scores, "fpr", ZERO)
    other = measure_rates(everywhere, scores, "tpr", ZERO)
    assert np.array_equal(one.value, other.value)


def test_clusters_are_whole_in_halves_draws_and_permutations():
    panel, scores = data(600)
    twice = Panel(
        np.concatenate([np.char.add("x", panel.sample), np.char.add("y", panel.sample)]),
        np.tile(panel.cluster, 2),
        np.tile(panel.group, 2),
        np.tile(panel.split, 2),
        panel.targets,
        np.tile(panel.present, (2, 1)),
    )
    used = support(panel, scores, ZERO)
    one = run(panel, scores, objects=used)
    other = run(twice, np.tile(scores, (2, 1)), objects=used)
    assert other.n_clusters == 600
    # copies of every image add no information
    assert other.hi - other.lo == pytest.approx(one.hi - one.lo, rel=1e-3)
    assert other.floor == pytest.approx(one.floor, rel=0.1)
    assert (other.objects["interval"] == "newcombe, clusters").all()


def test_clusters_seen_in_both_groups_are_allowed():
    panel, scores = data(800)
    pairs = Panel(
        panel.sample,
        (np.arange(800) // 2).astype(str),
        panel.group,
        panel.split,
        panel.targets,
        panel.present,
    )
    found = run(pairs, scores)
    assert found.n_clusters == 400
    assert found.lo <= found.plugin <= found.hi


def test_held_out_signs_are_those_of_the_gaps():
    panel, scores = data()
    used = support(panel, scores, ZERO)
    signs = held_out_signs(panel, scores, ZERO, objects=used)
    found = disparity(panel, scores, ZERO, objects=used, rng=np.random.default_rng(0))
    gap = found.objects["gap"].to_numpy()[used]
    assert (signs[0] == np.sign(gap)).all()
    assert len(set(signs[0])) > 1
    flipped = replace(panel, groups=panel.groups[::-1])
    assert (held_out_signs(flipped, scores, ZERO, objects=used) == -signs).all()


def test_bad_input_says_what_is_wrong():
    panel, scores = data(200)
    with pytest.raises(BadTable, match=r"\(200, 5\)"):
        run(panel, scores[:, :5])
    with pytest.raises(BadTable, match="threshold"):
        disparity(panel, scores, None, objects=np.arange(12), rng=np.random.default_rng(0))
    with pytest.raises(BadStudy, match=r"1\.5"):
        run(panel, scores, level=1.5)
    with pytest.raises(BadTable, match="repeat"):
        panel.take(np.array([0, 0]))
    with pytest.raises(BadTable, match="mixed"):
        panel.relabelled(np.repeat("mixed", 200))
