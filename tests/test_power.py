from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.disparity import disparity
from vlbias.analysis.power import detection_rate, power
from vlbias.analysis.simulated_scores import PlantedWorld, SimulatedCondition
from vlbias.errors import BadStudy


def flat_world(objects: int, fpr: float) -> PlantedWorld:
    from scipy.stats import norm

    return PlantedWorld(np.zeros(objects), np.full(objects, norm.ppf(fpr)), np.zeros(objects))


def test_the_planning_example():
    plan = power(n=5400, objects=79, fpr=0.02, ratio=0.68)
    spread = np.sqrt(0.02 * 0.98 * (1 / 3672 + 1 / 1728))
    assert plan.floor == pytest.approx(np.sqrt(2 / np.pi) * 79 * spread)
    assert plan.floor == pytest.approx(0.257, abs=0.001)
    assert plan.status == "ok"
    assert plan.minimal_change < plan.minimal_change_crossfit
    assert plan.frame().shape[0] == 1


def test_floor_falls_with_the_root_of_n():
    few, many = (power(n=n, objects=79, fpr=0.05, ratio=0.5).floor for n in (1000, 4000))
    assert few / many == pytest.approx(2.0)


def test_floor_agrees_with_permutations():
    plan = power(n=1500, objects=20, fpr=0.05, ratio=0.68)
    panel, y = flat_world(20, 0.05).draw(
        1500, {"null": SimulatedCondition(agreement=1.0)}, np.random.default_rng(0)
    )
    found = disparity(
        panel, y["null"], np.zeros(20), permutations=400, draws=100, rng=np.random.default_rng(0)
    )
    assert found.floor == pytest.approx(plan.floor, rel=0.1)
    assert found.floor_quantiles[2] == pytest.approx(plan.floor_q95, rel=0.15)


@pytest.mark.integration
def test_the_minimal_bias_is_found_as_often_as_promised():
    plan = power(n=1500, objects=20, fpr=0.05, ratio=0.68)
    rate = detection_rate(
        plan, plan.minimal_bias, replicates=120, permutations=99, rng=np.random.default_rng(0)
    )
    none = detection_rate(plan, 0.0, replicates=120, permutations=99, rng=np.random.default_rng(0))
    assert 0.68 <= rate <= 0.92
    assert none <= 0.12


def test_too_few_images_are_insufficient_not_zero():
    plan = power(n=200, objects=79, fpr=0.02, ratio=0.68)
    assert plan.status == "insufficient"
    assert plan.objects_used == 0
    assert np.isnan(plan.floor)
    mixed = power(n=1500, objects=3, fpr=[0.001, 0.02, 0.1], ratio=0.68)
    assert mixed.objects_used == 2


@pytest.mark.parametrize("wrong", [{"ratio": 1.2}, {"fpr": 0.0}, {"objects": 0}, {"n": 1}])
def test_bad_plans_are_named(wrong):
    with pytest.raises(BadStudy, match=next(iter(wrong))):
        power(**({"n": 100, "objects": 5, "fpr": 0.1, "ratio": 0.5} | wrong))
