"""Parts of photos in an effect."""

from __future__ import annotations

import numpy as np
import pytest
from four_arms import data, rng
from one_condition import ZERO, world

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.effects import combine
from vlbias.analysis.object_support import held_out_signs, support
from vlbias.analysis.photo_influence import influence
from vlbias.analysis.simulated_scores import SimulatedCondition


def test_parts_of_photos_are_exact_and_give_the_standard_error():
    panel, y = data(900)
    used = support(panel, y["00"], ZERO)
    fit, z = world().draw(500, {"00": SimulatedCondition()}, np.random.default_rng(9))
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
