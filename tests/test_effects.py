from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.decomposition import coalition, coalitions, increments, shapley
from vlbias.analysis.disparity import held_out_signs, support
from vlbias.analysis.effects import MODALITIES, combine, effects
from vlbias.analysis.functionals import plugin
from vlbias.analysis.influence import influence
from vlbias.analysis.simulated_scores import Condition, make_world, mediated_conditions
from vlbias.errors import BadStudy, BadTable, MissingArms

ZERO = np.zeros(12)
NUMBERS = ["estimate", "se", "lo", "hi", "relative"]


def rng():
    return np.random.default_rng(3)


def world(biased: float = 1.0):
    return make_world(np.random.default_rng(5), objects=12, biased=biased, size=0.6, fpr=0.08)


def data(n: int = 1500, total: float = 0.6, share: float = 0.5, seed: int = 0, biased: float = 1.0):
    arms = mediated_conditions(total, share)
    return world(biased).draw(n, arms, np.random.default_rng(seed))


def run(panel, y, mediators=None, **more):
    pairs = [("m", y["01"], y["10"])] if mediators is None else mediators
    options = {"thresholds": ZERO, "draws": 400, "rng": rng()} | more
    return effects(panel, y["00"], y["11"], pairs, **options)


def pick(table: pd.DataFrame, effect: str, functional: str, mediator: str = "m") -> pd.Series:
    key = (table["effect"] == effect) & (table["functional"] == functional)
    return table[key & (table["mediator"] == mediator)].iloc[0]


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


def test_parts_of_photos_are_exact_and_give_the_standard_error():
    panel, y = data(900)
    used = support(panel, y["00"], ZERO)
    fit, z = world().draw(500, {"00": Condition()}, np.random.default_rng(9))
    signs = held_out_signs(fit, z["00"], ZERO, objects=used)
    total = Combination("TE", {"11": 1, "00": -1})
    parts = influence(
        panel, {"11": y["11"], "00": y["00"]}, total, signs=signs, objects=used, thresholds=ZERO
    )
    by_cluster = parts.set_index("cluster")["value"]
    for name in panel.groups:
        clusters = np.unique(panel.cluster[panel.group == name])
        assert by_cluster[clusters].sum() == pytest.approx(0, abs=1e-6)
    row = combine(
        panel, {a: y[a] for a in ("00", "11")}, (total,), base="00", rng=rng(), thresholds=ZERO,
        functionals=("B_lin",), signs={"fpr": signs}, objects=used, draws=20_000,
    ).iloc[0]  # fmt: skip
    assert np.sqrt((by_cluster**2).sum()) == pytest.approx(row["se"], rel=0.02)
    # leaving the photo with the largest part out moves the effect by about minus its part
    top = parts.iloc[0]
    rest = np.flatnonzero(panel.cluster != top["cluster"])
    without = combine(
        panel.take(rest), {a: y[a][rest] for a in ("00", "11")}, (total,), base="00", rng=rng(),
        thresholds=ZERO, functionals=("B_lin",), signs={"fpr": signs}, objects=used, draws=50,
    ).iloc[0]  # fmt: skip
    assert without["estimate"] - row["estimate"] == pytest.approx(-top["value"], rel=0.02)


def test_a_world_compared_with_itself_has_effects_of_exactly_zero():
    wide = make_world(np.random.default_rng(5), objects=79)
    for seed in range(5):
        panel, y = wide.draw(373, {"00": Condition()}, np.random.default_rng(seed))
        same = dict.fromkeys(("00", "11", "01", "10"), y["00"])
        asked = {"objects": np.arange(79), "thresholds": np.zeros(79), "draws": 50}
        table = run(panel, same, **asked).table
        assert (table["estimate"] == 0).all()
        tested = table["p"].notna()
        assert (table.loc[tested, ["p", "p_adjusted"]] == 1).all(axis=None)


def test_a_cut_is_no_further_hypothesis():
    panel, y = data()
    plain = ("m", y["01"], y["10"])
    cut = ("image", y["11"], y["00"])
    alone, both = run(panel, y, [plain]).table, run(panel, y, [plain, cut]).table
    mine, own = both[both["mediator"] == "m"], both[both["mediator"] == "image"]
    columns = ["effect", "functional", "p_adjusted", "p_bh"]
    expected = alone.loc[alone["mediator"] == "m", columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine[columns].reset_index(drop=True), expected)
    tested = own[own["p"].notna()]
    assert (own["status"] == "cut").all()
    assert (tested["p_adjusted"] == tested["p"]).all()


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


def test_a_cut_mediator_is_called_cut_and_gets_no_share():
    panel, y = data()
    table = run(panel, y, [("whole", y["11"], y["00"]), ("m", y["01"], y["10"])]).table
    whole = table[table["mediator"] == "whole"]
    assert whole["cut"].all()
    assert (whole["status"] == "cut").all()
    assert whole["relative"].isna().all()
    assert not table[table["mediator"] == "m"]["cut"].any()
    for functional in whole["functional"].unique():
        nie, te = (pick(table, e, functional, "whole")["estimate"] for e in ("NIE", "TE"))
        assert nie == te


def test_what_a_cut_leaves_no_room_for_has_limits_of_exactly_zero():
    panel, y = data()
    table = run(panel, y, [("whole", y["11"], y["00"])]).table
    for functional in ("B_crossfit", "B_lin"):
        for effect in ("NDE", "INT"):
            row = pick(table, effect, functional, "whole")
            assert (row["lo"], row["hi"], row["p"]) == (0, 0, 1)


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
        3000, {"00": Condition(agreement=1.0), "x": Condition()}, np.random.default_rng(0)
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


def test_modalities_interact_only_where_planted():
    arms = {
        "null": Condition(agreement=1.0),
        "text": Condition(0.8, 0, 0.95),
        "image": Condition(0.6, 0, 0.95),
        "both": Condition(0.4, 0, 0.95),
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
        "null": Condition(agreement=1.0),
        "mask": Condition(0.5, 0.1, 0.95),
        "placebo": Condition(1.0, 0.1, 0.95),
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
        "none": Condition(agreement=1.0),
        "image": Condition(0.6, 0, 0.95),
        "text": Condition(0.9, 0, 0.95),
        "image+text": Condition(0.5, 0, 0.95),
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
