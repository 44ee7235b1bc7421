"""Mediators that cut everything: no share, no hypothesis, limits of zero."""

from __future__ import annotations

import pandas as pd
from four_arms import data, pick, run


def test_a_cut_is_no_further_hypothesis():
    panel, y = data()
    plain = ("m", y["01"], y["10"])
    cut = ("image", y["11"], y["00"])
    alone, both = run(panel, y, [plain]).table, run(panel, y, [plain, cut]).table
    mine, own = both[both["mediator"] == "m"], both[both["mediator"] == "image"]
    columns = ["effect", "functional", "p_adjusted", "p_bh"]
    expected = alone.loc[alone["mediator"] == "m", columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine[columns].reset_index(drop=True), expected)
    tested = own[own["p_adjusted"].notna()]
    assert set(own["functional"]) - set(tested["functional"]) == {"B_plugin"}
    assert (own["status"] == "cut").all()
    assert (tested["p_adjusted"] == tested["p"]).all()


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
