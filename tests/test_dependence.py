"""The label test, the floor and limits where groups differ in dependence or have few clusters."""

from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.cluster_limits import clustered_newcombe, degrees_of_freedom
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import effects
from vlbias.analysis.group_moments import UnitSums
from vlbias.analysis.inference import interval
from vlbias.analysis.label_permutation import label_test
from vlbias.analysis.object_gaps import newcombe
from vlbias.analysis.panel import Panel
from vlbias.analysis.permutation import permuted_units
from vlbias.analysis.rates import measure_rates

K = 15


def panel_of(group: np.ndarray, cluster: np.ndarray, present: np.ndarray) -> Panel:
    ids = np.char.zfill(np.arange(len(group)).astype(str), 5)
    names = tuple(f"object {k}" for k in range(present.shape[1]))
    return Panel(ids, np.char.zfill(cluster.astype(str), 5), group, ids, names, present)


def world(
    rng: np.random.Generator, sizes: tuple[int, int], rows: tuple[int, int], loads: tuple[float, float],
    within: float = 0.0,
) -> tuple[Panel, np.ndarray]:  # fmt: skip
    """No bias: rates of a fifth in both groups."""
    group = np.repeat(["a", "b"], sizes)
    first = np.arange(sizes[0]) // rows[0]
    cluster = np.r_[first, first.max() + 1 + np.arange(sizes[1]) // rows[1]]
    load = np.where(group == "a", *loads)[:, None]
    n = len(group)
    scores = load * rng.standard_normal((n, 1)) - 0.84
    scores = scores + np.sqrt(within) * rng.standard_normal((cluster.max() + 1, K))[cluster]
    scores = scores + np.sqrt(1 - load**2 - within) * rng.standard_normal((n, K))
    return panel_of(group, cluster, rng.random((n, K)) < 0.05), scores


@pytest.mark.parametrize("rows", [(1, 1), (4, 2)])
def test_correlations_and_variances_are_those_of_each_group(rows: tuple[int, int]) -> None:
    panel, scores = world(np.random.default_rng(0), (200, 120), rows, (0.2, 0.7), 0.2)
    own, _, unit = permuted_units(panel, 1, np.random.default_rng(0))
    sums = UnitSums(panel, scores, np.zeros(K), "fpr", None, unit)
    found = sums.moments(own[None], 2)
    for g, name in enumerate(panel.groups):
        rows_of = np.flatnonzero(panel.group == name)
        _, code = np.unique(panel.cluster[rows_of], return_inverse=True)
        hit, use = (np.zeros((code.max() + 1, K)) for _ in range(2))
        np.add.at(hit, code, (scores[rows_of] >= 0) & ~panel.present[rows_of])
        np.add.at(use, code, ~panel.present[rows_of])
        rate = hit.sum(axis=0) / use.sum(axis=0)
        part = hit - rate * use
        np.testing.assert_allclose(found.value[0, g], rate, rtol=1e-6)
        r = np.corrcoef(part.T)[found.first, found.second]
        np.testing.assert_allclose(found.correlation[0, g], r, atol=0.02)


def test_the_statistic_is_the_sum_of_squares_in_its_own_spread() -> None:
    panel, scores = world(np.random.default_rng(1), (300, 200), (1, 1), (0.3, 0.6))
    test = label_test(panel, scores, np.zeros(K), permutations=9, rng=np.random.default_rng(0))
    rates = measure_rates(panel, scores, "fpr", np.zeros(K))
    part = rates.residual.astype(float)
    product = part.T @ part
    r = product / np.sqrt(np.outer(np.diag(product), np.diag(product)))
    chance = 0.4**2 / 299 + 0.6**2 / 199  # of correlations of the two groups, as they share in gaps
    want = np.sqrt(((r**2).sum() - K) / (K * (K - 1)) - chance)
    assert test.correlation == pytest.approx(want, rel=0.05)


@pytest.mark.parametrize(
    ("sizes", "rows", "loads", "within"),
    [((600, 80), (1, 1), (0.1, 0.8), 0.0), ((300, 300), (15, 1), (0.3, 0.3), 0.5)],
)
def test_no_bias_is_no_bias_where_groups_differ_in_dependence(
    sizes: tuple[int, int], rows: tuple[int, int], loads: tuple[float, float], within: float
) -> None:
    """Pooled z without studentising rejects in 19 and 13 % of these."""
    found = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        panel, scores = world(rng, sizes, rows, loads, within)
        test = label_test(panel, scores, np.zeros(K), permutations=99, rng=rng)
        found.append((test.p <= 0.05, test.p_plugin <= 0.05))
    assert (np.mean(found, axis=0) <= 0.11).all()  # 5 % and 3 standard errors of 120


def test_the_floor_is_what_no_gap_would_give() -> None:
    seen, floors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        panel, scores = world(rng, (200, 200), (10, 1), (0.3, 0.3), 0.5)
        found = disparity(panel, scores, np.zeros(K), permutations=9, draws=200, rng=rng)
        seen.append(found.plugin)
        floors.append(found.floor)
    assert np.mean(floors) == pytest.approx(
        np.mean(seen), rel=0.05
    )  # permuted labels give 1.4 times it


def test_few_clusters_have_wider_limits() -> None:
    panel, scores = world(np.random.default_rng(0), (60, 60), (10, 10), (0.3, 0.3), 0.3)
    rates = measure_rates(panel, scores, "fpr", np.zeros(K))
    assert 5 <= degrees_of_freedom(rates) <= 10  # six clusters in each group
    draws = np.random.default_rng(0).standard_normal((1, 4000))
    wide, normal = interval(0.0, draws, df=5), interval(0.0, draws)
    assert wide.hi / normal.hi == pytest.approx(2.5706 / 1.9600, rel=1e-3)
    assert wide.p == 1.0


def test_without_clusters_the_clustered_limits_are_newcombes() -> None:
    panel, scores = world(np.random.default_rng(0), (900, 600), (1, 1), (0.3, 0.3))
    rates = measure_rates(panel, scores, "fpr", np.zeros(K))
    lo, hi = clustered_newcombe(rates)
    want = newcombe(np.round(rates.value * rates.count), rates.count)
    np.testing.assert_allclose(lo, want[0], atol=2e-3)
    np.testing.assert_allclose(hi, want[1], atol=2e-3)


def test_limits_of_objects_cover_with_ten_clusters_in_a_group() -> None:
    """Normal limits cover 89 %."""
    inside = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        panel, scores = world(rng, (200, 200), (20, 20), (0.3, 0.3), 0.3)
        lo, hi = clustered_newcombe(measure_rates(panel, scores, "fpr", np.zeros(K)))
        inside.append(((lo <= 0) & (hi >= 0)).mean())
    assert np.mean(inside) >= 0.93


def test_a_mediator_that_no_photo_has_has_no_effect_to_report() -> None:
    panel, scores = world(np.random.default_rng(0), (200, 200), (1, 1), (0.3, 0.3))
    gone = np.full(scores.shape, np.nan)
    one_group = np.where((panel.group == "a")[:, None], scores, np.nan)
    table = effects(
        panel, scores, scores + 0.1, [("nowhere", gone, gone), ("in a", one_group, one_group)],
        thresholds=np.zeros(K), draws=50, rng=np.random.default_rng(0),
    ).table  # fmt: skip
    for name in ("nowhere", "in a"):
        rows = table[table["mediator"] == name]
        assert set(rows["status"]) == {"insufficient"}
        assert rows[["estimate", "lo", "hi", "p", "p_adjusted"]].isna().all(axis=None)
        assert not rows["cut"].any()
