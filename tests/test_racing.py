"""Racing on planted truth: no false finding too many, nothing lost, and the same after any number of rounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp, ttest_ind

from vlbias.analysis.predictive_power import predictive_power
from vlbias.analysis.racing import Rules, race
from vlbias.analysis.stratified_means import stratified_mean

RULES = Rules(keep=2, draws=500)


def planted(seed: int, sizes: list[float], n: int = 240, k: int = 30) -> dict[str, np.ndarray]:
    """Values with a common part; the first have these means in standard errors of all rows."""
    rng = np.random.default_rng(seed)
    noise = 0.5 * rng.standard_normal((n, 1)) + rng.standard_normal((n, k))
    noise /= np.sqrt(1.25)
    truth = np.zeros(k)
    truth[: len(sizes)] = np.array(sizes) / np.sqrt(n)
    cheap = noise + 0.4 * rng.standard_normal((n, k)) + 0.5 * truth
    round_of = np.searchsorted([n / 8, n / 4, n / 2, n], np.arange(n), side="right") + 1
    return {"values": noise + truth, "approximate": cheap, "round_of": round_of}


def raced(data: dict[str, np.ndarray], rounds: int = 4, rules: Rules = RULES) -> object:
    n = len(data["values"])
    every = {**data, "stratum": np.zeros(n, np.intp), "cluster": np.arange(n)}
    return race(**every, rounds=rounds, rules=rules)


def test_stratified_means_are_those_of_students_tests() -> None:
    """One stratum: Student. Two, one negated: Welch. Rows of a cluster count as one."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3)) + 0.2
    one = stratified_mean(x, np.zeros(40, np.intp), np.arange(40))
    expected = ttest_1samp(x, 0)
    np.testing.assert_allclose(one.estimate / one.se, expected.statistic)
    np.testing.assert_allclose(one.df, 39)
    group = (np.arange(40) >= 15).astype(np.intp)
    two = stratified_mean(np.where(group[:, None] == 1, -x, x), group, np.arange(40))
    welch = ttest_ind(x[:15], x[15:], equal_var=False)
    np.testing.assert_allclose(two.estimate / two.se, welch.statistic, rtol=0.02)
    np.testing.assert_allclose(two.df, welch.df, rtol=0.02)
    twice = stratified_mean(np.repeat(x, 2, 0), np.zeros(80, np.intp), np.repeat(np.arange(40), 2))
    np.testing.assert_allclose(twice.se, one.se)
    x[:30, 0] = np.nan
    few = stratified_mean(x, np.zeros(40, np.intp), np.arange(40))
    assert few.rows.tolist() == [10, 40, 40]
    np.testing.assert_allclose(few.se[0], x[30:, 0].std(ddof=1) / np.sqrt(10), rtol=0.1)


def test_predictive_power_is_that_of_b_values() -> None:
    """Lan & Wittes: Z after all rows is normal around B / share, with variance (1 - share) / share."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 4)) + np.array([0, 0.05, 0.1, 0.3])
    seen, stratum = np.arange(400) < 100, np.zeros(400, np.intp)
    found = stratified_mean(x[seen], stratum[seen], np.arange(100))
    z = found.estimate / found.se
    mean, deviation = z / np.sqrt(0.25), np.sqrt(0.75 / 0.25)
    expected = norm.sf((3 - mean) / deviation) + norm.cdf((-3 - mean) / deviation)
    power = predictive_power(x, seen, stratum, found, 3.0)
    np.testing.assert_allclose(power, expected, atol=0.01)
    # what the rows to come are is known: so is what all rows will say
    sure = predictive_power(x, seen, stratum, found, 3.0, x.copy())
    every = stratified_mean(x, stratum, np.arange(400))
    assert (sure > 0.5).tolist() == (np.abs(every.estimate / every.se) > 3).tolist()


def test_a_race_looks_at_nothing_that_comes_later() -> None:
    data = planted(0, [9, 8, 7, 4])
    blind = {**data, "values": np.where(data["round_of"][:, None] > 2, np.nan, data["values"])}
    one, other = raced(data, rounds=2), raced(blind, rounds=2)
    for name in ("estimate", "lo", "hi", "left", "rows", "p"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    whole = raced(data)
    # what left is not measured later: the values of later rounds change nothing
    gone = {**data, "values": data["values"].copy()}
    late = (data["round_of"][:, None] > whole.left[None]) & (whole.left[None] > 0)
    gone["values"][late] = np.nan
    np.testing.assert_array_equal(raced(gone).lo, whole.lo)
    np.testing.assert_array_equal(raced(gone).left, whole.left)
    assert (whole.left[one.left > 0] == one.left[one.left > 0]).all()


def test_survivors_and_passes() -> None:
    """Large effects survive as in a full run, the largest stay, and most passes are saved."""
    shares, found = [], np.zeros(30)
    for seed in range(10):
        result = raced(planted(seed, [14, 13, 7, 7]))
        shares.append(result.rows.sum() / (240 * 30))
        found += result.survives
        assert result.left[:2].tolist() == [0, 0]
        assert (result.among_largest(2) <= (np.arange(30) < 2)).all()
    assert found[:4].tolist() == [10, 10, 10, 10]
    assert found[4:].sum() <= 1
    assert np.mean(shares) < 1 / 3


def test_few_false_findings_and_limits_that_hold() -> None:
    """Family-wise over quantities and rounds; a bound that ignored rounds or quantities would fail."""
    truth = np.array([5.0, -4.0] + [0.0] * 28) / np.sqrt(240)
    false, missed = 0, 0
    for seed in range(60):
        result = raced(planted(1000 + seed, [5, -4]))
        false += result.survives[2:].any()
        missed += ((result.lo > truth) | (result.hi < truth)).any()
    assert false <= 8
    assert missed <= 8


def test_what_never_moves_leaves_first() -> None:
    data = planted(3, [])
    data["values"][:, 0] = 0.0
    result = raced(data)
    assert result.left[0] == 1
    assert result.p[0] == 1
    assert not result.survives[0]


@pytest.mark.parametrize("keep", [1, 3])
def test_a_place_is_claimed_only_where_limits_are_apart(keep: int) -> None:
    result = raced(planted(4, [20, 12, 11.9, 5]), rules=Rules(keep=keep, draws=500))
    assert result.among_largest(1).tolist()[:2] == [True, False]
    assert result.among_largest(30).tolist() == result.survives.tolist()
