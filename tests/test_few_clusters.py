"""Means, amplification and thresholds whose limits rest on few clusters or on a small split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from vlbias.analysis.disparity import disparity
from vlbias.analysis.inference import cluster_weights, student
from vlbias.analysis.mean_effects import studentised_limits
from vlbias.analysis.missing_scores import missing_scores
from vlbias.analysis.operating_point import calibrate
from vlbias.analysis.panel import Panel
from vlbias.analysis.ranking_fairness import bias_amplification
from vlbias.analysis.rates import measure_rates
from vlbias.analysis.threshold_error import moved_rates, threshold_draws


def test_studentised_limits_are_symmetric_to_student_in_many_clusters() -> None:
    rng = np.random.default_rng(0)
    count = np.full(400, 3)
    total = rng.normal(size=400)
    estimate, lo, hi = studentised_limits([(total, count)], cluster_weights(400, 3000, rng), 0.95)
    plain = student(total, count)
    assert estimate == pytest.approx(plain.estimate)
    assert (lo, hi) == pytest.approx((plain.lo, plain.hi), abs=0.01)


@pytest.mark.parametrize("clusters", [6, 10])
def test_means_and_differences_of_few_clusters_are_covered(clusters: int) -> None:
    """Percentiles of the mean cover 83 and 89 %."""
    held = []
    for seed in range(250):
        rng = np.random.default_rng(seed)
        weights = cluster_weights(clusters, 300, rng).astype(np.intp)
        sums = []
        for _ in range(2):
            count = rng.integers(2, 9, clusters)
            size = np.sqrt(count)
            noise = size * rng.standard_normal(clusters)
            sums.append((count * rng.standard_normal(clusters) + noise, count))
        _, lo, hi = studentised_limits(sums[:1], weights, 0.95)
        _, low, high = studentised_limits(sums, weights, 0.95)
        held.append((lo <= 0 <= hi, low <= 0 <= high))
    assert (np.mean(held, axis=0) >= 0.91).all()  # 95 % less 2.9 standard errors of 250


def test_one_cluster_has_no_limits() -> None:
    total, count = np.array([3.0, 0.0]), np.array([2, 0])
    weights = np.array([[1, 1], [2, 0]])
    assert studentised_limits([(total, count)], weights, 0.95) == (1.5, -np.inf, np.inf)


def test_amplification_knows_clusters() -> None:
    """Ten copies of every photo are covered as the photos are; without clusters 40 % are."""
    held: list[tuple[bool, bool]] = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        attribute = np.eye(2)[rng.integers(0, 2, 60)]
        task = (rng.random((60, 8)) < 0.3).astype(float)
        hat = (rng.random((60, 8)) < np.where(task == 1, 0.7, 0.13)).astype(float)
        copies = [np.tile(one, (10, 1)) for one in (attribute, task, hat)]
        signs, photo = np.ones((2, 8)), np.tile(np.arange(60), 10)
        truth = 0.3 * 0.7 + 0.7 * 0.13 - 0.3
        kept = [
            bias_amplification(*copies, signs=signs, cluster=c, rng=rng)[1] for c in (photo, None)
        ]
        held.append(tuple(lo <= truth <= hi for lo, hi in kept))  # type: ignore[arg-type]
    with_clusters, without = np.mean(held, axis=0)
    assert with_clusters >= 0.88
    assert without < 0.6


def flat(n: int, scores: np.ndarray, group: np.ndarray, present: np.ndarray | None = None) -> Panel:
    ids = np.char.zfill(np.arange(n).astype(str), 6)
    names = tuple(f"o{k}" for k in range(scores.shape[1]))
    none = np.zeros(scores.shape, bool) if present is None else present
    return Panel(ids, ids, group, ids, names, none, ("a", "b"))


def test_ties_let_no_more_through_than_wanted() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(["a", "b"], 100)
    scores = np.full((200, 3), -np.inf)
    scores[:8, 0] = 1.0  # a detector that finds the first class in 4 % of the photos
    scores[:, 1] = np.round(rng.random(200), 1)
    scores[:, 2] = 7.0  # all alike
    limits = calibrate(flat(200, scores, group), scores, "fpr", fpr=0.1)
    passed = (scores >= limits).mean(axis=0)
    assert passed[0] == 0.04
    assert 0 < passed[1] <= 0.1
    assert passed[2] == 0
    assert limits[2] == np.inf
    half = rng.standard_normal((200, 1)).astype(np.float16).astype(np.float32)
    limit = calibrate(flat(200, half, group), half, "fpr", fpr=0.1)
    assert 0.08 <= (half >= limit).mean() <= 0.1


def test_drawn_thresholds_have_the_error_of_a_quantile() -> None:
    rng = np.random.default_rng(0)
    n = 400
    scores = rng.standard_normal((n, 5))
    panel = flat(n, scores, np.repeat(["a", "b"], n // 2))
    drawn = threshold_draws(panel, scores, "fpr", fpr=0.1, draws=800, rng=rng)
    want = np.sqrt(0.1 * 0.9 / n) / norm.pdf(norm.isf(0.1))
    assert drawn.std(axis=0).mean() == pytest.approx(want, rel=0.2)
    limits = calibrate(panel, scores, "fpr", fpr=0.1)
    assert np.median(drawn, axis=0) == pytest.approx(limits, abs=0.1)
    moved = moved_rates(panel, scores, "fpr", limits, drawn, np.array([2]))[:, :, 0]
    by_hand = (scores[:, 2] >= drawn[:, 2:3]).mean(axis=1) - (scores[:, 2] >= limits[2]).mean()
    assert moved.mean(axis=1) == pytest.approx(by_hand)


def test_moved_thresholds_do_not_count_the_error_of_few_photos_twice() -> None:
    """Where both groups have the same scores no threshold moves their gap; with shifted ones it does."""
    spreads, slopes = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        group = np.repeat(["a", "b"], 300)
        for shift, found in ((0.0, spreads), (1.0, slopes)):
            scores = rng.standard_normal((600, 1)) + shift * (group == "a")[:, None]
            panel = flat(600, scores, group)
            limits = calibrate(panel, scores, "fpr", fpr=0.1)
            drawn = threshold_draws(panel, scores, "fpr", fpr=0.1, draws=200, rng=rng)
            moved = moved_rates(panel, scores, "fpr", limits, drawn, np.array([0]))[:, :, 0]
            found.append((moved[:, 0] - moved[:, 1]).std() / moved.mean(axis=1).std())
    assert np.mean(spreads) < 0.25  # the photos between two thresholds alone have 0.73
    limit = 1.939  # lets a tenth of the mixture of N(0, 1) and N(1, 1) pass
    densities = norm.pdf(limit - 1), norm.pdf(limit)
    want = (densities[0] - densities[1]) / np.mean(densities)
    assert np.mean(slopes) == pytest.approx(want, rel=0.15)


def test_limits_hold_at_the_operating_point_that_a_small_split_only_estimates() -> None:
    """Gaps grow with the threshold, which 150 photos set: limits that ignore that cover 81 %."""
    held, ignored = [], []
    offset, rate = 0.8, 0.2
    x = np.linspace(-3, 5, 8001)
    share = (norm.sf(x - offset / 2) + norm.sf(x + offset / 2)) / 2
    limit = float(x[np.argmin(np.abs(share - rate))])
    truth = 6 * (norm.sf(limit - offset / 2) - norm.sf(limit + offset / 2))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sets = []
        for n in (120, 3000):
            group = np.repeat(["a", "b"], n // 2)
            side = np.where(group == "a", 0.5, -0.5)[:, None] * offset
            shared = rng.standard_normal((n, 1))
            scores = side + np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.standard_normal((n, 6))
            sets.append((flat(n, scores, group), scores))
        limits = calibrate(*sets[0], "fpr", fpr=rate)
        drawn = threshold_draws(*sets[0], "fpr", fpr=rate, draws=200, rng=rng)
        for kept, given in ((held, drawn), (ignored, None)):
            found = disparity(
                *sets[1], limits, permutations=3, draws=200, drawn_thresholds=given, rng=rng
            )
            kept.append(found.crossfit_lo <= truth <= found.crossfit_hi)
    assert np.mean(held) >= 0.85
    assert np.mean(ignored) < np.mean(held)


def test_missing_scores_bound_what_the_sum_could_be() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(["a", "b"], [60, 40])
    scores = (rng.random((100, 3)) < 0.3).astype(float)
    panel = flat(100, scores, group)
    gone = scores.copy()
    gone[rng.random((100, 3)) < 0.1] = np.nan
    limits, every = np.full(3, 0.5), np.arange(3)
    rates = measure_rates(panel, gone, "fpr", limits)
    found = missing_scores(panel, gone, rates, "fpr", every)
    at_worst = [
        np.abs(measure_rates(panel, np.where(np.isnan(gone), fill, gone), "fpr", limits).gap).sum()
        for fill in (0.0, 1.0, np.where(group == "a", 1.0, 0.0)[:, None], scores)
    ]
    assert found.least <= min(at_worst) <= max(at_worst) <= found.most + 1e-9
    assert 0.05 < found.share < 0.25
    none = missing_scores(panel, scores, measure_rates(panel, scores, "fpr", limits), "fpr", every)
    assert (none.share, none.least) == (0, pytest.approx(none.most))
    frame = disparity(panel, gone, limits, objects=every, permutations=3, draws=20, rng=rng).frame()
    assert frame[["missing", "plugin_least", "plugin_most"]].notna().all(axis=None)
    assert isinstance(frame, pd.DataFrame)
