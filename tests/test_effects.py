"""Effects of mediators: identities, planted shares, and what changes nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from four_arms import NUMBERS, data, pick, rng, run
from one_condition import ZERO, world

from vlbias.analysis.effects import MODALITIES, combine
from vlbias.analysis.functionals import plugin
from vlbias.analysis.object_support import held_out_signs, support
from vlbias.analysis.simulated_scores import SimulatedCondition, make_world
from vlbias.errors import BadStudy, BadTable, MissingArms


@pytest.mark.parametrize(
    "functional", ["B_plugin", "B_crossfit", "B_lin", "score_gap_lin", "score_gap_crossfit"]
)
def test_identities_are_exact(functional):
    panel, y = data()
    table = run(panel, y, functionals=(functional,)).table
    e = {name: pick(table, name, functional)["estimate"] for name in table["effect"].unique()}
    assert e["TE"] == pytest.approx(e["NDE"] + e["TIE"], abs=1e-9)
    assert e["TE"] == pytest.approx(e["NIE"] + e["TDE"], abs=1e-9)
    assert e["TE"] == pytest.approx(e["NDE"] + e["NIE"] + e["INT"], abs=1e-9)


def test_absolute_values_alone_make_an_interaction():
    # two objects, linear gaps that cross zero: B is .110, .040 (10), .020 (01), .050 (11)
    gaps = {"00": (0.06, 0.05), "10": (0.02, 0.02), "01": (0.01, 0.01)}
    gaps["11"] = tuple(
        a + b - c for a, b, c in zip(gaps["10"], gaps["01"], gaps["00"], strict=True)
    )
    b = {arm: float(plugin(np.array([g]))) for arm, g in gaps.items()}
    assert b["11"] - b["00"] != pytest.approx(b["10"] + b["01"] - 2 * b["00"])
    signed = {arm: sum(g) for arm, g in gaps.items()}
    assert signed["11"] - signed["00"] == pytest.approx(
        signed["10"] + signed["01"] - 2 * signed["00"]
    )


def test_an_object_that_a_group_lacks_on_the_compared_rows_has_no_gap_there():
    panel, y = data()
    lost = {arm: scores.copy() for arm, scores in y.items()}
    # world 11 exists for no image of group b without object 0
    lost["11"][np.ix_((panel.group == "b") & ~panel.present[:, 0], [0])] = np.nan
    asked = {"functionals": ("B_plugin", "B_lin")}
    found = run(panel, lost, objects=np.arange(12), **asked).table
    clean = run(panel, lost, objects=np.arange(1, 12), **asked).table
    assert (found["n_objects"] == 11).all()
    pd.testing.assert_frame_equal(found[NUMBERS], clean[NUMBERS])


def test_a_world_compared_with_itself_has_effects_of_exactly_zero():
    wide = make_world(np.random.default_rng(5), objects=79)
    for seed in range(5):
        panel, y = wide.draw(373, {"00": SimulatedCondition()}, np.random.default_rng(seed))
        same = dict.fromkeys(("00", "11", "01", "10"), y["00"])
        asked = {"objects": np.arange(79), "thresholds": np.zeros(79), "draws": 50}
        table = run(panel, same, **asked).table
        assert (table["estimate"] == 0).all()
        assert (table["p"].dropna() == 1).all()
        assert (table["p_adjusted"].dropna() == 1).all()


def test_planted_mediated_share_is_recovered_on_scores():
    panel, y = data(6000, total=0.6, share=0.75)
    table = run(panel, y, functionals=("score_gap_lin",)).table
    total, indirect = (pick(table, e, "score_gap_lin") for e in ("TE", "NIE"))
    assert total["relative"] == pytest.approx(-0.6, abs=0.04)
    assert indirect["estimate"] / total["estimate"] == pytest.approx(0.75, abs=0.05)
    assert indirect["relative_lo"] < -0.45 < indirect["relative_hi"]
    assert abs(pick(table, "INT", "score_gap_lin")["relative"]) < 0.05


def test_nothing_done_gives_exactly_nothing():
    panel, y = data()
    table = run(panel, {k: y["00"] for k in y}).table
    assert (table["estimate"].abs() < 1e-12).all()
    assert (table["p"].dropna() == 1).all()
    assert (table["lo"] <= 0).all()
    assert (table["hi"] >= 0).all()


def test_relative_effects_share_one_named_denominator():
    panel, y = data()
    table = run(panel, y).table
    for _, part in table[table["mediator"] == "m"].groupby("functional"):
        assert np.allclose(
            part["estimate"] / part["relative"], (part["estimate"] / part["relative"]).iloc[0]
        )
        assert part["denominator"].nunique() == 1


def test_rows_with_nan_are_left_out_of_all_four_arms_and_counted():
    panel, y = data()
    holes = {k: v.copy() for k, v in y.items()}
    holes["01"][:100] = np.nan
    rest = np.arange(100, len(panel))
    table = run(panel, holes).table
    only = run(
        panel.take(rest), {k: v[rest] for k, v in y.items()}, objects=support(panel, y["00"], ZERO)
    ).table
    m = table[table["mediator"] == "m"]
    assert (m["n"] == 1400).all()
    assert (table[table["mediator"] == ""]["n"] == 1500).all()
    fpr = m["functional"].str.startswith("B_")
    want = only[(only["mediator"] == "m") & only["functional"].str.startswith("B_")]
    assert np.allclose(m.loc[fpr, "estimate"], want["estimate"])


def test_swapping_groups_permuting_rows_and_sharding_change_nothing():
    panel, y = data()
    table = run(panel, y).table
    rows = np.concatenate([np.arange(i, len(panel), 4) for i in range(4)])
    other = run(panel.take(rows), {k: v[rows] for k, v in y.items()}).table
    pd.testing.assert_frame_equal(table, other)
    swapped = panel.relabelled(np.where(panel.group == "a", "b", "a"))
    turned = run(swapped, y).table
    assert np.allclose(table["estimate"], turned["estimate"])
    assert np.allclose(table["se"].dropna(), turned["se"].dropna(), rtol=1e-3)


def test_an_object_without_support_changes_nothing():
    panel, y = data()
    table = run(panel, y, functionals=("B_lin", "B_crossfit")).table
    low = {k: v.copy() for k, v in y.items()}
    for v in low.values():
        v[:, 3] = -9.0
    used = support(panel, low["00"], ZERO)
    assert 3 not in used
    keep = [i for i in range(12) if i in used]
    without = run(panel, y, functionals=("B_lin", "B_crossfit"), objects=np.array(keep)).table
    low_table = run(panel, low, functionals=("B_lin", "B_crossfit")).table
    assert np.allclose(without["estimate"], low_table["estimate"])
    assert not np.allclose(table["estimate"], low_table["estimate"])


def test_held_out_signs_make_effects_plainly_linear():
    panel, y = data()
    used = support(panel, y["00"], ZERO)
    signs = held_out_signs(panel, y["00"], ZERO, objects=used)
    table = run(panel, y, functionals=("B_lin",), signs={"fpr": signs}, objects=used).table
    gaps = {}
    for arm, scores in y.items():
        rate = [
            [(scores[(panel.group == g) & ~panel.present[:, k], k] >= 0).mean() for k in used]
            for g in "ab"
        ]
        gaps[arm] = float((signs[0] * (np.array(rate[0]) - rate[1])).sum())
    assert pick(table, "NIE", "B_lin")["estimate"] == pytest.approx(gaps["01"] - gaps["00"])


def test_many_mediators_are_corrected_and_tested_down_the_tree():
    panel, y = data(3000, total=0.6, share=1.0)
    noise = world().draw(
        3000,
        {"00": SimulatedCondition(agreement=1.0), "x": SimulatedCondition()},
        np.random.default_rng(0),
    )[1]
    rest = [(f"null {i}", y["00"], y["11"]) for i in range(3)]
    paths = {"m": ("image", "layer 0", "head 0")} | {
        f"null {i}": ("text", f"layer {i}", "head 0") for i in range(3)
    }
    assert noise["x"].shape == y["00"].shape
    found = run(
        panel, y, [("m", y["01"], y["10"]), *rest], paths=paths, functionals=("score_gap_lin",)
    )
    nie = found.table[(found.table["effect"] == "NIE") & (found.table["mediator"] != "")]
    assert (nie["p_adjusted"] >= nie["p"] - 0.02).all()
    assert pick(found.table, "NIE", "score_gap_lin")["p_adjusted"] < 0.05
    assert (nie[nie["mediator"] != "m"]["p_adjusted"] == 1).all()
    tree = found.tree[found.tree["effect"] == "NIE"].set_index("node")["p_adjusted"]
    assert tree["image/layer 0/head 0"] <= 0.05
    assert tree["text"] > 0.5


def test_three_groups_keep_the_identities():
    panel, y = data()
    names = np.where(np.arange(len(panel)) % 3 == 0, "c", panel.group)
    three = type(panel)(
        panel.sample, panel.cluster, names, panel.split, panel.targets, panel.present
    )
    table = run(three, y).table
    for functional in table["functional"].unique():
        e = {n: pick(table, n, functional)["estimate"] for n in table["effect"].unique()}
        assert e["TE"] == pytest.approx(e["NDE"] + e["NIE"] + e["INT"], abs=1e-9)


def test_mediators_are_streamed_one_at_a_time():
    panel, y = data(400)
    alive = []

    def stream():
        for i in range(4):
            alive.append(i)
            yield f"m{i}", y["01"].copy(), y["10"].copy()
            assert alive[-1] == i

    table = run(panel, y, stream()).table
    assert set(table["mediator"]) == {"", "m0", "m1", "m2", "m3"}


def test_bad_input_says_what_is_wrong():
    panel, y = data(300)
    with pytest.raises(MissingArms, match="thresholds"):
        run(panel, y, thresholds=None)
    with pytest.raises(MissingArms, match="01"):
        run(panel, y, thresholds={"00": ZERO, "11": ZERO, "10": ZERO})
    with pytest.raises(BadStudy, match="B_mean"):
        run(panel, y, functionals=("B_mean",))
    with pytest.raises(BadTable, match="'m'"):
        run(panel, y, [("m", y["01"], y["10"])] * 2)
    with pytest.raises(MissingArms, match="both"):
        combine(panel, {"null": y["00"]}, MODALITIES, base="null", rng=rng(), thresholds=ZERO)
