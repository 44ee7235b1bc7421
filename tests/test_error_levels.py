"""Either group's errors before and after: levelling down is told from less bias."""

from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.error_levels import ErrorLevels, error_levels
from vlbias.analysis.panel import Panel

K, N = 10, 20_000
ZERO = np.zeros(K)


def drawn(rates: np.ndarray, seed: int) -> tuple[Panel, np.ndarray]:
    """Photos of two groups of one size, and scores that pass 0 with these rates [2, K]."""
    rng = np.random.default_rng(seed)
    code = np.arange(N) % 2
    scores = rates[code] - rng.random((N, K))
    ids = np.char.zfill(np.arange(N).astype(str), 5)
    group = np.where(code == 0, "a", "b")
    split, present = np.full(N, "test"), np.zeros((N, K), bool)
    return Panel(ids, ids, group, split, tuple("abcdefghij"), present, ("a", "b")), scores


def found(after: np.ndarray, *, held_out: bool) -> ErrorLevels:
    high = np.tile([[0.2], [0.1]], (1, K))
    flip = np.arange(K) % 2 == 1  # every other object is found more often in the other group
    before, last = (np.where(flip, rates[::-1], rates) for rates in (high, after))
    panel, null = drawn(before, 0)
    _, world = drawn(last, 1)
    signs = np.where(flip, -1.0, 1.0)[None] if held_out else None
    levels = error_levels(panel, null, world, (ZERO, ZERO), objects=np.arange(K), signs=signs)
    assert levels is not None
    return levels


@pytest.mark.parametrize("held_out", [True, False])
def test_levels_are_the_rates_of_the_group_with_more_and_of_the_one_with_fewer(
    held_out: bool,
) -> None:
    down = found(np.tile([[0.2], [0.2]], (1, K)), held_out=held_out)
    assert down.higher_before == pytest.approx(0.2, abs=0.005)
    assert down.lower_before == pytest.approx(0.1, abs=0.005)
    assert down.lower_after == pytest.approx(0.2, abs=0.005)
    assert down.is_levelling_down
    assert down.lower_p < 1e-6
    less = found(np.tile([[0.1], [0.1]], (1, K)), held_out=held_out)
    assert less.higher_after == pytest.approx(0.1, abs=0.005)
    assert not less.is_levelling_down
    assert less.lower_lo < 0 < less.lower_hi


def test_a_gap_that_widens_is_no_levelling_down() -> None:
    assert not found(np.tile([[0.4], [0.15]], (1, K)), held_out=True).is_levelling_down


def test_groups_that_were_told_apart_by_noise_alone_do_not_meet_by_it() -> None:
    """Without any gap, choosing the higher group by the same photos must not make levels differ."""
    panel, null = drawn(np.full((2, K), 0.1), 3)
    _, world = drawn(np.full((2, K), 0.1), 4)
    levels = error_levels(panel, null, world, (ZERO, ZERO), objects=np.arange(K))
    assert levels is not None
    assert levels.higher_before == pytest.approx(levels.lower_before, abs=0.002)
    assert not levels.is_levelling_down


def test_three_groups_have_no_levels() -> None:
    ids = np.array(["1", "2", "3"])
    panel = Panel(ids, ids, np.array(["a", "b", "c"]), ids, ("x",), np.zeros((3, 1), bool))
    one = np.zeros((3, 1))
    assert error_levels(panel, one, one, (np.zeros(1), np.zeros(1)), objects=np.array([0])) is None
