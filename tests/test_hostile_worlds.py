"""Hostile worlds, the quick form: no decision word is wrong too often, and limits cover.

The whole table takes hours: `python experiments/hostile_worlds.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

from hostile.draws import WORLDS, draw
from hostile.judge import replicate
from hostile.rates import INTERVENTIONS, same_strictness

PHOTOS, REPLICATES = 373, 2
pytestmark = pytest.mark.integration
RARE = 1e-4
"""Chance that a bound is exceeded although the level holds."""


@pytest.fixture(scope="module")
def said() -> pd.DataFrame:
    rows = [
        row | {"world": name}
        for name in WORLDS
        for index in range(REPLICATES)
        for row in replicate(name, PHOTOS, index, draws=100, permutations=99)
    ]
    return pd.DataFrame(rows).astype({"said": float, "wrong": float})


def test_there_are_thirty_worlds_or_more_and_rates_are_those_that_are_drawn() -> None:
    assert len(WORLDS) >= 30
    for name in ("looser on gendered classes", "few bursts in the smaller group, bias"):
        world = WORLDS[name]
        drawn = draw(world, 40_000, np.random.default_rng(0))
        for arm, rates in zip(("null", "intervention"), world.rates, strict=True):
            for g in (0, 1):
                seen = (drawn.scores[arm][drawn.panel.code == g] >= 0).mean(axis=0)
                assert seen.mean() == pytest.approx(rates[g].mean(), abs=0.004)


def test_equal_strictness_is_equal_for_every_class() -> None:
    share = np.array([0.7, 0.3])
    for name, make in INTERVENTIONS.items():
        before, after = make(16)
        matched = same_strictness(before, after, 0.7)
        assert share @ matched == pytest.approx(share @ after, abs=1e-6), name


def test_no_word_is_wrong_too_often(said: pd.DataFrame) -> None:
    words = said[said["kind"] == "word"]
    for what, rows in words.groupby("what"):
        most = binom.ppf(1 - RARE, len(rows), 0.05)
        assert rows["wrong"].sum() <= most, f"{what}: wrong {rows['wrong'].sum()} of {len(rows)}"


def test_what_is_there_is_found(said: pd.DataFrame) -> None:
    rows = said.set_index(["what", "world"])["said"]
    assert rows["lower beyond class thresholds", "all removed"].all()
    assert rows["bias is shown", "bias, nothing done"].all()


def test_limits_cover(said: pd.DataFrame) -> None:
    limits = said[said["kind"] == "interval"]
    for what, rows in limits.groupby("what"):
        if what == "gap of an object":
            assert rows["wrong"].mean() <= 0.08
            continue
        most = binom.ppf(1 - RARE, len(rows), 0.05)
        assert rows["wrong"].sum() <= most, f"{what}: missed {rows['wrong'].sum()} of {len(rows)}"
