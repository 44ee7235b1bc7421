"""Equal strictness: one shift for all classes, or thresholds class by class, with the error they add."""

from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.matched_thresholds import (
    matched_by_class,
    matching_shift,
    mean_fpr,
    with_matching_error,
)
from vlbias.analysis.panel import Panel
from vlbias.analysis.rates import measure_rates
from vlbias.analysis.simulated_scores import SimulatedCondition, make_world
from vlbias.errors import BadStudy

ZERO = np.zeros(12)


def data(n: int = 3000) -> tuple[Panel, dict[str, np.ndarray]]:
    world = make_world(np.random.default_rng(5), objects=12, biased=1.0, size=0.6, fpr=0.08)
    arms = {"null": SimulatedCondition(agreement=1.0), "less": SimulatedCondition(0.4, 0.5, 0.9)}
    return world.draw(n, arms, np.random.default_rng(0))


def test_matching_shift_matches():
    panel, y = data()
    used = np.arange(12)
    shift = matching_shift(panel, y["null"], ZERO, 0.03, used)
    assert mean_fpr(panel, y["null"], ZERO + shift, used) == pytest.approx(0.03, abs=2e-4)
    with pytest.raises(BadStudy, match=r"1\.7"):
        matching_shift(panel, y["null"], ZERO, 1.7, used)


def test_a_shift_stays_finite_where_classes_were_not_found():
    panel, y = data(n=400)
    scores = np.where(y["null"] > 0.5, y["null"], -np.inf)
    everything = np.arange(len(panel.targets))
    limits = np.full(len(panel.targets), 1.0)
    for target in (0.0, 0.05, 0.9):
        shift = matching_shift(panel, scores, limits, target, everything)
        assert np.isfinite(shift)
    assert mean_fpr(panel, scores, limits + shift, everything) == pytest.approx(
        float(
            (np.isfinite(scores) & ~panel.present).sum(axis=0).dot(1 / (~panel.present).sum(axis=0))
        )
        / len(everything)
    )
    assert matching_shift(panel, np.full_like(scores, -np.inf), limits, 0.0, everything) == 0.0


def false_positives(panel: Panel, scores: np.ndarray, limits: np.ndarray) -> list[int]:
    return [int((scores[~panel.present[:, k], k] >= limits[k]).sum()) for k in range(12)]


def test_every_class_gets_the_false_positives_of_the_other_arm():
    panel, y = data()
    limits = matched_by_class(panel, y["null"], y["less"], ZERO, np.arange(12))
    wanted = false_positives(panel, y["less"], ZERO)
    assert false_positives(panel, y["null"], limits) == wanted
    assert wanted != false_positives(panel, y["null"], ZERO)


def test_an_arm_of_its_own_thresholds_is_matched_to_itself_and_unused_classes_are_never_found():
    panel, y = data()
    limits = matched_by_class(panel, y["null"], y["null"] - 0.5, ZERO, np.array([2, 3]))
    assert (
        false_positives(panel, y["null"], limits)[2:4]
        == false_positives(panel, y["null"], ZERO + 0.5)[2:4]
    )
    assert np.isinf(limits[[0, 1, 4]]).all()


def test_ties_take_the_nearer_rate_and_infinite_scores_are_not_reached():
    panel, y = data(200)
    steps = np.floor(y["null"] * 2) / 2
    limits = matched_by_class(panel, steps, y["less"], ZERO, np.arange(12))
    for k in range(12):
        absent = ~panel.present[:, k]
        wanted = int((y["less"][absent, k] >= 0).sum())
        reach = [int((steps[absent, k] >= t).sum()) for t in np.unique(steps[absent, k])] + [0]
        got = int((steps[absent, k] >= limits[k]).sum())
        assert abs(got - wanted) == min(abs(r - wanted) for r in reach)
    none = matched_by_class(panel, np.full_like(steps, -np.inf), y["less"], ZERO, np.arange(12))
    assert np.isinf(none).all()


def test_the_error_of_matching_is_that_of_matching_anew_in_resampled_photos():
    """Against a bootstrap that matches anew: standard errors of the gap at matched thresholds."""
    panel, y = data(4000)
    used = np.arange(12)
    limits = matched_by_class(panel, y["null"], y["less"], ZERO, used)
    rates = measure_rates(panel, y["null"], "fpr", limits, objects=used)
    target = measure_rates(panel, y["less"], "fpr", ZERO, objects=used)
    about = [
        measure_rates(panel, y["null"], "fpr", limits + shift, objects=used)
        for shift in (0.15, -0.15)
    ]
    known = with_matching_error(rates, target, *about).spread[0]
    rng, gaps = np.random.default_rng(3), []
    for _ in range(300):
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(panel.code == g), (panel.code == g).sum()) for g in (0, 1)]
        )
        names = np.char.zfill(np.arange(len(rows)).astype(str), 5)
        one = Panel(
            names, names, panel.group[rows], panel.split[rows], panel.targets, panel.present[rows]
        )
        first, other = y["null"][rows], y["less"][rows]
        found = matched_by_class(one, first, other, ZERO, used)
        gaps.append(measure_rates(one, first, "fpr", found, objects=used).gap[0])
    drawn = np.std(gaps, axis=0)
    assert known == pytest.approx(drawn, rel=0.25)
    assert np.mean(known / drawn) == pytest.approx(1, abs=0.03)
    assert np.mean(rates.spread[0] / drawn) > 1.03, (
        "a rate that is pinned moves less than a free one"
    )
