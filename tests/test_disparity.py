from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from vlbias.analysis.curves import ap_gaps, auc_gaps
from vlbias.analysis.disparity import Disparity, disparity, held_out_signs, support
from vlbias.analysis.functionals import crossfit, crossfit_target, shrinkage
from vlbias.analysis.object_gaps import fisher_exact, newcombe, signed_summary
from vlbias.analysis.panel import Panel
from vlbias.analysis.range_crossfit import cell_sums, crossfit_halvings
from vlbias.analysis.rates import measure_rates
from vlbias.analysis.simulated_scores import Condition, make_world
from vlbias.errors import BadStudy, BadTable

ZERO = np.zeros(12)


def world(biased: float = 1.0, size: float = 0.6, objects: int = 12):
    return make_world(np.random.default_rng(5), objects=objects, biased=biased, size=size, fpr=0.08)


def data(n: int = 1200, biased: float = 1.0, seed: int = 0):
    panel, scores = world(biased).draw(
        n, {"null": Condition(agreement=1.0)}, np.random.default_rng(seed)
    )
    return panel, scores["null"]


def run(panel: Panel, scores: np.ndarray, **more) -> Disparity:
    options = {"permutations": 200, "draws": 300, "rng": np.random.default_rng(3)} | more
    return disparity(panel, scores, ZERO, **options)


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
    truth = np.abs(world().gaps(Condition())[:, used]).sum()
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
    assert (other.objects["interval"] == "normal").all()


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


def test_newcombe_matches_the_published_example():
    # Newcombe (1998), table II, 56/70 against 48/80, method 10
    assert newcombe((56, 48), (70, 80)) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_fisher_matches_scipy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n, m = rng.integers(5, 300, 2)
        x, y = rng.integers(0, n + 1), rng.integers(0, m + 1)
        want = stats.fisher_exact([[x, y], [n - x, m - y]])[1]
        assert fisher_exact((x, y), (n, m)) == pytest.approx(want, rel=1e-6, abs=1e-12)


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


def test_auc_gap_equals_the_pairwise_definition_and_finds_bias():
    panel, scores = data(1500)
    found = auc_gaps(panel, scores, permutations=99, rng=np.random.default_rng(0))
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
    none = auc_gaps(*data(1500, biased=0.0), permutations=99, rng=np.random.default_rng(0))
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


def test_scores_that_only_vary_more_in_one_group_are_no_auc_gap():
    rejected = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        group = np.repeat(["a", "b"], [400, 100])
        scores = rng.standard_normal((500, 5)) * np.where(group == "a", 1, 4)[:, None]
        ids = np.arange(500).astype(str)
        none = np.zeros((500, 5), bool)
        panel = Panel(ids, ids, group, np.repeat("t", 500), tuple("vwxyz"), none)
        rejected.append(auc_gaps(panel, scores, permutations=99, rng=rng).p <= 0.05)
    assert (
        np.mean(rejected) < 0.12
    )  # 5 % and 2.5 standard errors of 60 runs; without studentising it is 18 %


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


def test_signed_summary_follows_the_stereotype_and_ignores_insufficient_objects():
    table = pd.DataFrame(
        {
            "object": ["tie", "handbag", "dog", "yeti"],
            "gap": [0.04, -0.02, 0.01, np.nan],
            "status": ["ok", "ok", "ok", "insufficient"],
        }
    )
    found = signed_summary(table, {"tie": 0.3, "handbag": -0.2, "yeti": 0.5}, top=1)
    value = found.set_index("what")["value"]
    assert value["sum"] == pytest.approx(0.03)
    assert value["along the stereotype"] == pytest.approx(0.03)
    assert found["object"].tolist() == ["", "", "tie", "handbag"]


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
