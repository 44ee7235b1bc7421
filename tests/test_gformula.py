"""The g-formula against closed forms, statsmodels, simulation and its own draws."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from vlbias.analysis.covariate_patterns import collapse
from vlbias.analysis.gformula import family_of, g_formula, redrawn_means
from vlbias.analysis.glm import fit
from vlbias.analysis.natural_effects import EFFECTS, effects_frame, share_mediated
from vlbias.analysis.unmeasured_confounding import e_value, sensitivity
from vlbias.causal.equation import expit
from vlbias.errors import BadOption, BadTable

Columns = dict[str, NDArray[np.float64]]


def table(
    n: int, seed: int, mediator: str = "binary", outcome: str = "binary", effect: float = 0.8
) -> Columns:
    rng = np.random.default_rng(seed)
    c, d = (rng.random(n) < 0.3).astype(float), (rng.random(n) < 0.5).astype(float)
    a = (rng.random(n) < expit(-0.5 + c)).astype(float)
    eta = -1 + 1.5 * a + 0.8 * c
    m = (
        (rng.random(n) < expit(eta)).astype(float)
        if mediator == "binary"
        else eta + rng.normal(size=n)
    )
    eta = -1 + 0.5 * a + effect * m + 0.7 * c - 0.4 * d
    y = (
        (rng.random(n) < expit(eta)).astype(float)
        if outcome == "binary"
        else eta + rng.normal(size=n)
    )
    return {"a": a, "m": m, "y": y, "c": c, "d": d}


def estimates(columns: Columns, **options: object) -> dict[str, float]:
    four = g_formula(columns, "a", ["m"], "y", ["c", "d"], **options)  # type: ignore[arg-type]
    frame = effects_frame(four)
    return dict(zip(frame["effect"], frame["estimate"], strict=True))


@pytest.mark.parametrize("mediator", ["binary", "continuous"])
@pytest.mark.parametrize("outcome", ["binary", "continuous"])
def test_all_four_mixes_find_the_effects_of_a_large_simulation(mediator: str, outcome: str) -> None:
    """The truth by running the mechanisms of 1,000,000 units with the same noise in all four worlds."""
    rng = np.random.default_rng(7)
    n = 1_000_000
    c, d = (rng.random(n) < 0.3).astype(float), (rng.random(n) < 0.5).astype(float)
    noise = rng.random(n) if mediator == "binary" else rng.normal(size=n)

    def m_of(a: int) -> NDArray[np.float64]:
        eta = -1 + 1.5 * a + 0.8 * c
        return (noise < expit(eta)).astype(float) if mediator == "binary" else eta + noise

    def y_of(a: int, m: NDArray[np.float64]) -> float:
        eta = -1 + 0.5 * a + 0.8 * m + 0.7 * c - 0.4 * d
        return float((expit(eta) if outcome == "binary" else eta).mean())

    truth = np.array([y_of(a, m_of(b)) for a in (0, 1) for b in (0, 1)])
    four = g_formula(table(40_000, 1, mediator, outcome), "a", ["m"], "y", ["c", "d"])
    errors = np.sqrt(np.diag(four.covariance))
    assert (np.abs(four.means - truth) < 4 * errors).all()
    assert (errors < 0.02).all()


@pytest.mark.parametrize("mediator", ["binary", "continuous"])
@pytest.mark.parametrize("outcome", ["binary", "continuous"])
def test_sums_of_effects_hold(mediator: str, outcome: str) -> None:
    found = estimates(table(2000, 3, mediator, outcome), interaction=True)
    for parts in (("PNDE", "TNIE"), ("TNDE", "PNIE"), ("ACME", "ADE")):
        assert found["TE"] == pytest.approx(sum(found[part] for part in parts), abs=1e-12)
    assert found["INT"] == pytest.approx(found["TNIE"] - found["PNIE"], abs=1e-12)


def test_linear_effects_are_products_of_coefficients() -> None:
    columns = table(3000, 4, "continuous", "continuous")
    x = np.column_stack([np.ones(3000), columns["a"], columns["c"], columns["d"]])
    first = sm.OLS(columns["m"], x).fit()
    second = sm.OLS(columns["y"], np.column_stack([x, columns["m"]])).fit()
    found = estimates(columns, interaction=False)
    assert found["ACME"] == pytest.approx(first.params[1] * second.params[4], abs=1e-12)
    assert found["ADE"] == pytest.approx(second.params[1], abs=1e-12)


@pytest.mark.parametrize("name", ["m", "y"])
def test_regressions_and_their_sandwich_are_those_of_statsmodels(name: str) -> None:
    columns = table(3000, 5)
    patterns = collapse(columns)
    found = fit(name, "binary", [(), ("a",), ("c",), ("d",)], patterns)
    x = np.column_stack([np.ones(3000), columns["a"], columns["c"], columns["d"]])
    oracle = sm.GLM(columns[name], x, family=sm.families.Binomial()).fit(cov_type="HC0")
    assert np.allclose(found.equation.coefficients, oracle.params, atol=1e-8)
    assert np.allclose(found.covariance(patterns), oracle.cov_params(), rtol=1e-6, atol=1e-10)
    assert len(patterns) <= 32 < 3000


def test_clustered_errors_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    columns = table(2000, 6)
    cluster = rng.integers(0, 50, 2000)
    patterns = collapse(columns, cluster)
    found = fit("y", "binary", [(), ("a",), ("c",)], patterns)
    x = np.column_stack([np.ones(2000), columns["a"], columns["c"]])
    oracle = sm.GLM(columns["y"], x, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    assert np.allclose(found.covariance(patterns), oracle.cov_params() * 50 / 49, rtol=1e-6)


@pytest.mark.parametrize("mediator", ["binary", "continuous"])
@pytest.mark.parametrize("outcome", ["binary", "continuous"])
def test_limits_agree_with_draws_and_with_the_bootstrap(mediator: str, outcome: str) -> None:
    columns = table(1500, 8, mediator, outcome)
    four = g_formula(columns, "a", ["m"], "y", ["c", "d"], interaction=True)
    weights = np.array(EFFECTS["ACME"])
    se = float(weights @ four.covariance @ weights) ** 0.5
    drawn = redrawn_means(four, ["c", "d"], 100, 0) @ weights
    assert np.std(drawn) == pytest.approx(se, rel=0.25)
    rng = np.random.default_rng(1)
    again = []
    for _ in range(60):
        rows = rng.integers(0, 1500, 1500)
        resampled = {name: column[rows] for name, column in columns.items()}
        again.append(estimates(resampled, interaction=True)["ACME"])
    assert np.std(again) == pytest.approx(se, rel=0.35)


def test_p_values_of_no_effect_are_uniform() -> None:
    p = []
    for seed in range(200):
        frame = effects_frame(g_formula(table(2000, seed, effect=0.0), "a", ["m"], "y", ["c", "d"]))
        p.append(float(frame.loc[frame["effect"] == "ACME", "p"].iloc[0]))
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.10
    assert 0.40 <= np.mean(np.array(p) < 0.5) <= 0.60


def test_small_p_values_have_no_floor() -> None:
    frame = effects_frame(g_formula(table(20_000, 9, effect=1.0), "a", ["m"], "y", ["c", "d"]))
    assert 0 < frame.loc[frame["effect"] == "ACME", "p"].iloc[0] < 1e-50


def test_the_interaction_is_kept_only_where_it_is_shown() -> None:
    columns = table(20_000, 10)
    assert not g_formula(columns, "a", ["m"], "y", ["c"]).interaction
    rng = np.random.default_rng(0)
    eta = -1 + columns["a"] * columns["m"] * 1.5 + 0.2 * columns["a"]
    columns["y"] = (rng.random(20_000) < expit(eta)).astype(float)
    assert g_formula(columns, "a", ["m"], "y", ["c"]).interaction


def test_separation_is_said_and_answered_with_a_finite_penalised_estimate() -> None:
    columns = table(400, 11)
    columns["m"] = columns["a"] * columns["m"]  # nobody without the exposure has the mediator
    four = g_formula(columns, "a", ["m"], "y", ["c"])
    assert "m: separated by its predictors; Firth's penalised likelihood is used" in four.notes
    assert np.isfinite(four.covariance).all()
    assert abs(four.equations[0].coefficients[1]) < 12


def test_firth_has_the_closed_form_of_a_two_by_two_table() -> None:
    """Jeffreys' prior adds half a unit to each cell of a saturated table."""
    a = np.repeat([0.0, 1.0], 20)
    m = np.concatenate([np.zeros(20), np.repeat([0.0, 1.0], [8, 12])])
    found = fit("m", "binary", [(), ("a",)], collapse({"a": a, "m": m}))
    expected = np.log((12.5 / 8.5) / (0.5 / 20.5))
    assert found.equation.coefficients[1] == pytest.approx(expected, abs=1e-5)


def test_redundant_covariates_are_left_out_and_said() -> None:
    columns = table(1000, 12)
    columns["twin"] = columns["c"]
    four = g_formula(columns, "a", ["m"], "y", ["c", "twin"])
    assert "m: left out as redundant: twin" in four.notes
    assert four.means == pytest.approx(g_formula(columns, "a", ["m"], "y", ["c"]).means)


def test_what_cannot_be_regressed_is_refused() -> None:
    columns = table(1000, 13)
    with pytest.raises(BadTable, match="'y' is 1 in every row"):
        g_formula({**columns, "y": np.ones(1000)}, "a", ["m"], "y")
    few = {name: column[:4] for name, column in columns.items()}
    few["m"], few["y"] = np.array([0.0, 1, 0, 1]), np.array([0.0, 1, 1, 0])
    with pytest.raises(BadTable, match="too few"):
        g_formula(few, "a", ["m"], "y", ["c", "d"])
    with pytest.raises(BadOption, match="mediators"):
        g_formula(columns, "a", [], "y")


def test_the_share_is_given_only_where_the_total_effect_is_clear_of_zero() -> None:
    share = share_mediated(g_formula(table(20_000, 14), "a", ["m"], "y", ["c", "d"]))
    assert 0 < share.lo < share.estimate < share.hi < 1
    rng = np.random.default_rng(0)
    noise = {name: (rng.random(500) < 0.5).astype(float) for name in "amy"}
    assert np.isnan(share_mediated(g_formula(noise, "a", ["m"], "y")).estimate)


def test_robustness_is_an_e_value_or_rho() -> None:
    assert e_value(2.0) == pytest.approx(2 + 2**0.5)
    assert e_value(0.5) == e_value(2.0)
    assert e_value(1.0) == 1.0
    binary = sensitivity(g_formula(table(20_000, 15), "a", ["m"], "y", ["c", "d"]))
    assert binary.measure == "E-value"
    assert 1 < binary.limit < binary.estimate
    columns = table(20_000, 16, "continuous", "continuous")
    linear = sensitivity(g_formula(columns, "a", ["m"], "y", ["c", "d"], interaction=False))
    # errors: e_y = .8 e_m + e, both with variance 1
    assert linear.measure == "rho"
    assert linear.estimate == pytest.approx(0.8 / (0.8**2 + 1) ** 0.5, abs=0.02)


def test_families_are_told_by_the_values() -> None:
    assert family_of(np.array([0, 1, 1])) == "binary"
    assert family_of(np.array([0, 1, 2])) == "continuous"
