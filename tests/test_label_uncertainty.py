"""Doubt about labels: probabilities by hand, limits that widen, and B that shrinks by the known factor."""

from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.label_uncertainty import uncertain_labels, wrong_given
from vlbias.analysis.panel import Panel
from vlbias.errors import BadStudy

K = 10
ZERO, ALL = np.zeros(K), np.arange(K)


def drawn(n: int = 4000, gap: float = 0.5) -> tuple[Panel, np.ndarray]:
    rng = np.random.default_rng(0)
    code = np.arange(n) % 2
    sign = np.where(np.arange(K) % 2, 1.0, -1.0)
    scores = rng.normal(size=(n, K)) - 1 + gap * sign * (code - 0.5)[:, None]
    ids = np.char.zfill(np.arange(n).astype(str), 5)
    group = np.where(code == 0, "a", "b")
    present = np.zeros((n, K), bool)
    panel = Panel(ids, ids, group, np.full(n, "t"), tuple("abcdefghij"), present, ("a", "b"))
    return panel, scores


def found(wrong: float, **more: float) -> dict[str, float]:
    panel, scores = drawn(**more)  # type: ignore[arg-type]
    share = np.full(len(panel), wrong)
    return uncertain_labels(panel, scores, ZERO, share, objects=ALL, rng=np.random.default_rng(1))


def test_the_chance_of_a_wrong_label_by_hand() -> None:
    assert wrong_given([1, 2], 0.1) == pytest.approx([0.1, 0.01 / 0.82])
    with pytest.raises(BadStudy, match=r"0\.5"):
        wrong_given([1], 0.7)


def test_without_doubt_nothing_is_between_labelings() -> None:
    sure = found(0.0)
    assert sure["missing"] < 0.02, "what is left is that of the draws"


def test_doubt_widens_the_limits_and_shrinks_b_by_one_minus_twice_its_chance() -> None:
    sure, unsure = found(0.0), found(0.1)
    assert unsure["missing"] > 0.1
    assert unsure["crossfit"] == pytest.approx(0.8 * sure["crossfit"], rel=0.06)
    width = [one["hi"] - one["lo"] for one in (sure, unsure)]
    assert width[1] > width[0]


def test_three_groups_are_refused() -> None:
    panel, scores = drawn(30)
    group = np.array(["a", "b", "c"])[np.arange(30) % 3]
    three = Panel(panel.sample, panel.cluster, group, panel.split, panel.targets, panel.present)
    with pytest.raises(BadStudy, match="two groups"):
        uncertain_labels(
            three, scores, ZERO, np.zeros(30), objects=ALL, rng=np.random.default_rng(0)
        )
