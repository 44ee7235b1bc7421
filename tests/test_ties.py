"""Rankings of equal scores: the expectation over their order, by listing every order."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from vlbias.analysis.ranking_fairness import bias_at_k, max_skew, ndkl

SCORES = np.array([3.0, 2, 2, 2, 2, 1, 1, 1])
GROUPS = np.array(["m", "f", "m", "m", "x", "f", "f", "m"])


def orders() -> list[np.ndarray]:
    """Groups from best to worst under every order of equal scores."""
    first, second = list(permutations(range(1, 5))), list(permutations(range(5, 8)))
    return [GROUPS[[0, *a, *b]] for a in first for b in second]


def skew(top: np.ndarray, shares: dict[str, float]) -> float:
    return max(np.log((top == g).mean() / s) for g, s in shares.items() if (top == g).any())


@pytest.mark.parametrize("k", range(1, 8))
def test_expectations_are_the_means_over_all_orders(k: int) -> None:
    shares = {g: float((g == GROUPS).mean()) for g in "fmx"}
    ranked = orders()
    want = np.mean([skew(one[:k], shares) for one in ranked])
    assert max_skew(SCORES, GROUPS, k) == pytest.approx(want)
    two = {"f": 0.5, "m": 0.5}
    want = np.mean([skew(one[:k], two) for one in ranked])
    assert max_skew(SCORES, GROUPS, k, two) == pytest.approx(want)
    contrasts = []
    for one in ranked:
        m, f = (int((one[:k] == g).sum()) for g in "mf")
        contrasts.append((m - f) / (m + f) if m + f else 0.0)
    assert bias_at_k(SCORES, GROUPS, k, ("m", "f")) == pytest.approx(np.mean(contrasts))


def test_divergence_is_the_mean_over_all_orders() -> None:
    place = np.arange(1, 9)
    discount = 1 / np.log2(place + 1)
    found = []
    for one in orders():
        total = np.zeros(8)
        for g in "fmx":
            q = np.cumsum(one == g) / place
            total += np.where(q > 0, q * np.log(np.where(q > 0, q, 1) / (g == GROUPS).mean()), 0)
        found.append((discount * total).sum() / discount.sum())
    assert ndkl(SCORES, GROUPS) == pytest.approx(np.mean(found))


def test_the_order_of_rows_is_no_ranking() -> None:
    scores, groups = np.zeros(40), np.repeat(["f", "m"], 20)
    for order in (np.arange(40), np.arange(40)[::-1]):
        assert bias_at_k(scores, groups[order], 10, ("m", "f")) == pytest.approx(0, abs=1e-12)
        assert 0 < max_skew(scores, groups[order], 10) < 0.3
