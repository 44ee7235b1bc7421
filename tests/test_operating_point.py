from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vlbias.analysis.object_support import support
from vlbias.analysis.operating_point import calibrate, grid
from vlbias.analysis.panel import Panel
from vlbias.analysis.rates import measure_rates
from vlbias.analysis.sensitivity import (
    feature_sensitivity,
    label_flips,
    label_rules,
    threshold_sensitivity,
)
from vlbias.analysis.simulated_scores import SimulatedCondition, make_world
from vlbias.errors import BadStudy

ZERO = np.zeros(12)


def world(biased: float = 1.0):
    return make_world(np.random.default_rng(5), objects=12, biased=biased, size=0.6, fpr=0.08)


def data(arms=None, n: int = 2000, biased: float = 1.0, seed: int = 0):
    arms = arms or {"null": SimulatedCondition(agreement=1.0)}
    return world(biased).draw(n, arms, np.random.default_rng(seed))


def test_count_rule_predicts_as_many_as_there_are():
    panel, y = data()
    limit = calibrate(panel, y["null"], "count")
    assert ((y["null"] >= limit).sum(axis=0) == panel.present.sum(axis=0)).all()


def test_fpr_rule_lets_the_share_through_and_ignores_groups():
    panel, y = data()
    limit = calibrate(panel, y["null"], "fpr", fpr=0.05)
    absent = ~panel.present
    rate = ((y["null"] >= limit) & absent).sum(axis=0) / absent.sum(axis=0)
    assert rate == pytest.approx(np.full(12, 0.05), abs=1e-3)
    swapped = panel.relabelled(np.where(panel.group == "a", "b", "a"))
    assert np.array_equal(calibrate(swapped, y["null"], "fpr", fpr=0.05), limit)


def test_an_object_that_is_never_there_is_never_predicted():
    panel, y = data(n=300)
    none = Panel(
        panel.sample, panel.cluster, panel.group, panel.split, panel.targets,
        panel.present & (np.arange(12) > 0),
    )  # fmt: skip
    limit = calibrate(none, y["null"], "count")
    assert np.isinf(limit[0])
    assert 0 not in support(none, y["null"], limit)


def test_calibration_says_what_is_wrong():
    panel, y = data(n=100)
    with pytest.raises(BadStudy, match="median"):
        calibrate(panel, y["null"], "median")
    with pytest.raises(BadStudy, match="5"):
        calibrate(panel, y["null"], "fpr", fpr=5)


def test_grid_compares_conditions_at_equal_strictness():
    arms = {"null": SimulatedCondition(agreement=1.0), "less": SimulatedCondition(0.4, 0.5, 0.95)}
    panel, y = data(arms, n=3000)
    shifted = {"null": y["null"], "same": y["null"] - 7, "less": y["less"]}
    points, areas = grid(panel, shifted, (0.02, 0.05, 0.1), base="null")
    wide = points.pivot_table(index="fpr", columns="arm", values="B_plugin")
    assert wide["same"].to_numpy() == pytest.approx(wide["null"].to_numpy(), abs=0.01)
    assert (wide["less"] < wide["null"]).all()
    area = areas.set_index("arm")["area_B_crossfit"]
    assert area["less"] < area["null"] == pytest.approx(area["same"], rel=0.05)
    assert (
        wide["null"].min()
        < areas.set_index("arm").loc["null", "area_B_plugin"]
        < wide["null"].max()
    )


def test_thresholds_of_a_grid_come_from_the_photos_given_for_that():
    panel, y = data(n=2000)
    fit, kept = np.arange(0, 2000, 2), np.arange(1, 2000, 2)
    part = {"null": y["null"][kept]}
    inside, _ = grid(panel.take(kept), part, (0.1, 0.2), base="null")
    same, _ = grid(panel.take(kept), part, (0.1, 0.2), base="null", fit=(panel.take(kept), part))
    pd.testing.assert_frame_equal(inside, same)
    other, _ = grid(
        panel.take(kept), part, (0.1,), base="null", fit=(panel.take(fit), {"null": y["null"][fit]})
    )
    limits = calibrate(panel.take(fit), y["null"][fit], "fpr", fpr=0.1)
    used = support(panel.take(kept), y["null"][kept], limits)
    rates = measure_rates(panel.take(kept), y["null"][kept], "fpr", limits, objects=used)
    assert other["B_plugin"].iloc[0] == pytest.approx(float(np.abs(rates.gap).sum()), abs=1e-12)
    assert other["B_plugin"].iloc[0] != inside["B_plugin"].iloc[0]


def test_points_without_support_are_insufficient_and_leave_the_others_as_they_are():
    panel, y = data(n=600)
    few = int(min((panel.group == g).sum() for g in panel.groups))
    rare, common = 3 / few, (0.2, 0.3)  # three events to expect in the smaller group
    alone, area_alone = grid(panel, y, common, base="null")
    points, areas = grid(panel, y, (rare, *common), base="null")
    missing = points[points["fpr"] == rare]
    assert missing["B_plugin"].isna().all()
    assert (missing["n_objects"] == 0).all()
    rest = points[points["fpr"] != rare].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, alone)
    pd.testing.assert_frame_equal(areas, area_alone)
    assert alone["n_objects"].min() > 0
    nothing, empty = grid(panel, y, (rare,), base="null")
    assert nothing["B_crossfit"].isna().all()
    assert empty["area_B_crossfit"].isna().all()


def test_label_flips_shrink_b():
    panel, y = data(n=3000)
    table = label_flips(
        panel, y["null"], ZERO, rates=(0.0, 0.1, 0.3), repeats=8, rng=np.random.default_rng(0)
    ).set_index("rate")
    assert table.loc[0.0, "crossfit"] > table.loc[0.1, "crossfit"] > table.loc[0.3, "crossfit"]
    assert table.loc[0.0, "sd_crossfit"] == 0


def test_label_flips_without_an_object_are_insufficient_and_not_zero():
    panel, y = data(n=200)
    none = np.array([], dtype=np.intp)
    table = label_flips(panel, y["null"], ZERO, objects=none, rng=np.random.default_rng(0))
    assert table[["plugin", "crossfit"]].isna().all(axis=None)


def test_label_rules_use_their_own_images():
    panel, y = data(n=1500)
    strict = np.where(np.arange(1500) % 2, panel.group, "unknown")
    table = label_rules(
        panel, y["null"], ZERO, {"k=1": panel.group, "k=2": strict}, rng=np.random.default_rng(0)
    ).set_index("rule")
    assert table["n"].tolist() == [1500, 750]
    assert table.loc["k=2", "floor"] > table.loc["k=1", "floor"]


def test_threshold_and_feature_sensitivity_report_beside_b():
    arms = {
        "null": SimulatedCondition(agreement=1.0),
        "blur": SimulatedCondition(1.0, 0.0, 0.99),
        "mask": SimulatedCondition(0.3, 0, 0.9),
    }
    panel, y = data(arms, n=2500)
    used = support(panel, y["null"], ZERO)
    moved = threshold_sensitivity(
        panel, y["null"], ZERO, (0.0, 0.3), objects=used, rng=np.random.default_rng(0)
    )
    assert moved["plugin"].iloc[1] < moved["plugin"].iloc[0]
    table = feature_sensitivity(
        panel, y["null"], {"background blur": y["blur"], "mask": y["mask"]}, ZERO, objects=used,
        rng=np.random.default_rng(0),
    ).set_index("change_made")  # fmt: skip
    assert table.loc["none", "change"] == 0
    assert abs(table.loc["background blur", "relative_change"]) < 0.3
    assert table.loc["mask", "relative_change"] < -0.4
