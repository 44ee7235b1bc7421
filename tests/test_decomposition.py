"""Sums of arms: modalities, placebos, Shapley shares and increments."""

from __future__ import annotations

import numpy as np
import pytest
from four_arms import rng
from one_condition import ZERO, world

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.effects import MODALITIES, combine
from vlbias.analysis.shapley import coalition, coalitions, increments, shapley
from vlbias.analysis.simulated_scores import SimulatedCondition
from vlbias.errors import MissingArms


def test_modalities_interact_only_where_planted():
    arms = {
        "null": SimulatedCondition(agreement=1.0),
        "text": SimulatedCondition(0.8, 0, 0.95),
        "image": SimulatedCondition(0.6, 0, 0.95),
        "both": SimulatedCondition(0.4, 0, 0.95),
    }
    panel, y = world().draw(6000, arms, np.random.default_rng(1))
    table = combine(
        panel, y, MODALITIES, base="null", rng=rng(), thresholds=ZERO, draws=300,
        functionals=("score_gap_lin",),
    ).set_index("effect")  # fmt: skip
    assert table.loc["text", "relative"] == pytest.approx(-0.2, abs=0.05)
    assert table.loc["image", "relative"] == pytest.approx(-0.4, abs=0.05)
    assert table.loc["text x image", "lo"] < 0 < table.loc["text x image", "hi"]


def test_effect_minus_placebo_has_a_smaller_error_than_unpaired_arms():
    arms = {
        "null": SimulatedCondition(agreement=1.0),
        "mask": SimulatedCondition(0.5, 0.1, 0.95),
        "placebo": SimulatedCondition(1.0, 0.1, 0.95),
    }
    panel, y = world().draw(3000, arms, np.random.default_rng(1))
    minus = Combination("mask - placebo", {"mask": 1, "placebo": -1})
    table = combine(
        panel,
        y,
        (minus,),
        base="null",
        rng=rng(),
        thresholds=ZERO,
        functionals=("B_lin",),
        draws=300,
    )
    fresh = world().draw(3000, arms, np.random.default_rng(2))[1]
    loose = combine(
        panel, y | {"placebo": fresh["placebo"]}, (minus,), base="null", rng=rng(), thresholds=ZERO,
        functionals=("B_lin",), draws=300,
    )  # fmt: skip
    assert table["hi"].iloc[0] < 0
    assert table["se"].iloc[0] < 0.8 * loose["se"].iloc[0]


def test_shapley_shares_add_up_and_are_order_free():
    parts = ("image", "text", "fusion")
    value = {coalition(()): 1.0}
    generator = np.random.default_rng(0)
    value |= {name: float(generator.random()) for name in coalitions(parts) if name != "none"}
    shares = {c.name: sum(w * value[a] for a, w in c.terms.items()) for c in shapley(parts)}
    turned = {c.name: sum(w * value[a] for a, w in c.terms.items()) for c in shapley(parts[::-1])}
    assert len(coalitions(parts)) == 8
    assert sum(shares.values()) == pytest.approx(value["fusion+image+text"] - 1.0)
    assert shares == pytest.approx(turned)
    additive = {name: float(len(name.split("+"))) if name != "none" else 0.0 for name in value}
    for c in shapley(parts):
        assert sum(w * additive[a] for a, w in c.terms.items()) == pytest.approx(1.0)


def test_shapley_shares_come_with_limits():
    arms = {
        "none": SimulatedCondition(agreement=1.0),
        "image": SimulatedCondition(0.6, 0, 0.95),
        "text": SimulatedCondition(0.9, 0, 0.95),
        "image+text": SimulatedCondition(0.5, 0, 0.95),
    }
    panel, y = world().draw(3000, arms, np.random.default_rng(1))
    table = combine(
        panel, y, shapley(("image", "text")), base="none", rng=rng(), thresholds=ZERO,
        functionals=("score_gap_lin",), draws=300,
    ).set_index("effect")  # fmt: skip
    assert table.loc["share of image", "relative"] == pytest.approx(-0.4, abs=0.06)
    assert table.loc["share of text", "lo"] < table.loc["share of text", "estimate"]


def test_increments_of_cumulative_arms_telescope():
    steps = increments(("none", "layer 0", "layers 0-1"))
    value = {"none": 1.0, "layer 0": 0.8, "layers 0-1": 0.5}
    found = [sum(w * value[a] for a, w in c.terms.items()) for c in steps]
    assert found == pytest.approx([-0.2, -0.3])
    with pytest.raises(MissingArms):
        increments(("none",))
