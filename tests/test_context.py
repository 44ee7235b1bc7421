"""B in context: a model that errs by what lies beside an object, and one that raises all scores of a group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vlbias.analysis.context import context, overlap_weights, weighted_rates, without_offset
from vlbias.analysis.panel import Panel
from vlbias.analysis.rates import measure_rates

K = 12
ZERO = np.zeros(K)


def panel_of(rng: np.random.Generator, n: int, *, unequal: bool) -> Panel:
    """Photos of two groups; the first four objects are more frequent with one group, if unequal."""
    code = (np.arange(n) % 3 == 0).astype(int)
    often = np.full((2, K), 0.2)
    if unequal:
        often[0, :4], often[1, :4] = 0.5, 0.1
    present = rng.random((n, K)) < often[code]
    ids = np.char.zfill(np.arange(n).astype(str), 5)
    group = np.where(code == 0, "a", "b")
    return Panel(ids, ids, group, np.full(n, "test"), tuple("abcdefghijkl"), present, ("a", "b"))


def versions(panel: Panel, scores: np.ndarray) -> pd.DataFrame:
    return context(
        panel, scores, ZERO, objects=np.arange(4, K), rng=np.random.default_rng(0), draws=300
    ).set_index("what")


def test_a_model_that_errs_by_what_lies_beside_has_b_and_none_after_adjustment() -> None:
    rng = np.random.default_rng(1)
    panel = panel_of(rng, 6000, unequal=True)
    beside = panel.present[:, :4].sum(axis=1, keepdims=True)  # it knows no group
    found = versions(panel, rng.normal(size=panel.present.shape) - 1.6 + 0.6 * beside)
    plain, adjusted = found.loc["as it is"], found.loc["adjusted for co-occurring objects"]
    assert plain["B_lo"] > 0.5
    assert adjusted["B_lo"] <= 0.02
    assert abs(adjusted["B_crossfit"]) < 0.1 * plain["B_crossfit"]
    assert adjusted["photos"] < plain["photos"]


def test_a_common_offset_is_told_from_gaps_that_differ_by_object() -> None:
    rng = np.random.default_rng(2)
    panel = panel_of(rng, 6000, unequal=False)
    shift = 0.4 * (panel.code == 0)[:, None]
    found = versions(panel, rng.normal(size=panel.present.shape) - 1.3 + shift)
    plain, rest = found.loc["as it is"], found.loc["without the common offset"]
    assert plain["offset_lo"] > 0.04
    assert plain["B_lo"] > 0.3
    assert rest["B_lo"] == pytest.approx(0, abs=0.02)
    assert rest["offset"] == pytest.approx(0, abs=1e-12)


def test_bias_by_group_stays_after_adjustment() -> None:
    rng = np.random.default_rng(3)
    panel = panel_of(rng, 6000, unequal=True)
    own = np.where(np.arange(K) % 2, 0.4, -0.4) * (panel.code == 0)[:, None]
    found = versions(panel, rng.normal(size=panel.present.shape) - 1.3 + own)
    assert found.loc["adjusted, without the common offset", "B_lo"] > 0.3


def test_the_weights_balance_every_object() -> None:
    panel = panel_of(np.random.default_rng(4), 3000, unequal=True)
    weight = overlap_weights(panel)
    means = [np.average(panel.present[panel.code == g], 0, weight[panel.code == g]) for g in (0, 1)]
    assert means[0] == pytest.approx(means[1], abs=1e-4)
    assert ((weight > 0) & (weight < 1)).all()


def test_equal_weights_give_plain_rates() -> None:
    rng = np.random.default_rng(5)
    panel = panel_of(rng, 400, unequal=False)
    scores, objects = rng.normal(size=panel.present.shape), np.arange(K)
    plain = measure_rates(panel, scores, "fpr", ZERO, objects=objects)
    equal = weighted_rates(panel, scores, ZERO, objects, np.full(400, 0.5))
    assert equal.value == pytest.approx(plain.value, abs=1e-6)
    assert equal.count == pytest.approx(plain.count)
    assert equal.spread == pytest.approx(plain.spread, rel=1e-4)
    assert without_offset(plain).gap.mean() == pytest.approx(0, abs=1e-12)


def test_three_groups_are_not_adjusted() -> None:
    rng = np.random.default_rng(6)
    panel = panel_of(rng, 600, unequal=False)
    group = np.array(["a", "b", "c"])[np.arange(600) % 3]
    three = Panel(panel.sample, panel.cluster, group, panel.split, panel.targets, panel.present)
    found = context(
        three, rng.normal(size=panel.present.shape), ZERO, objects=np.arange(K),
        rng=np.random.default_rng(0), draws=50,
    )  # fmt: skip
    assert found["what"].tolist() == ["as it is", "without the common offset"]
