"""Fitted equations as a staged model: arms of the engine are those of the g-formula."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vlbias.analysis.arm_means import ARMS, arm_means
from vlbias.analysis.covariate_patterns import collapse
from vlbias.analysis.gformula import FourMeans, g_formula
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.equation import Equation, expit
from vlbias.causal.site import Mediator
from vlbias.errors import BadModel
from vlbias.models.tabular import Tabular, patient_examples

CONTRAST = Contrast("unexposed", "exposed")


def table(n: int = 800, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    c, d = (rng.random(n) < 0.3).astype(float), (rng.random(n) < 0.5).astype(float)
    a = (rng.random(n) < expit(-0.5 + c)).astype(float)
    m = (rng.random(n) < expit(-1 + 1.5 * a + 0.8 * c)).astype(float)
    k = (rng.random(n) < expit(-1 + 0.5 * a + m)).astype(float)
    x = 0.5 + a + 0.5 * m + 0.4 * c + rng.normal(size=n)
    y = (rng.random(n) < expit(-1 + 0.5 * a + 0.8 * m + 0.5 * k + 0.3 * x)).astype(float)
    return {
        "A 1": a,
        "M": m,
        "K": k,
        "X": x,
        "Y": y,
        "c": c,
        "d": d,
        "z": -1 + m + x + rng.normal(size=n),
    }


def engine_means(
    model: Tabular, rows: dict[str, NDArray[np.float64]], exchanged: list[str]
) -> NDArray[np.float64]:
    """Means of the four arms over rows, the stages of some mediators exchanged together."""
    examples = patient_examples(np.column_stack([rows[name] for name in model.covariates]).tolist())
    mediator = Mediator.of([model.stage_of[name] for name in exchanged], "exchanged")
    altered = altered_channels(examples, [CONTRAST])
    assert altered[CONTRAST] == {"exposure"}
    engine = Engine(model, [CONTRAST], [mediator], altered=altered)
    found = {arm.arm: float(arm.readout["y"].mean()) for arm in engine.run(examples)}
    return np.array([found[arm] for arm in ARMS])


def fitted(
    mediators: list[str], outcome: str = "Y", **options: bool
) -> tuple[FourMeans, Tabular, dict[str, NDArray[np.float64]]]:
    columns = table()
    four = g_formula(columns, "A 1", mediators, outcome, ["c", "d"], **options)
    return four, Tabular(four.equations, "A 1", ["c", "d"]), columns


@pytest.mark.parametrize("interaction", [True, False])
@pytest.mark.parametrize(
    "mediators", [["M"], ["X"], ["M", "K"], ["M", "X"], ["X", "K"], ["M", "K", "X"]]
)
@pytest.mark.parametrize("outcome", ["Y", "z"])
def test_the_engine_gives_the_g_formula(
    mediators: list[str], outcome: str, interaction: bool
) -> None:
    """One mediator, binary or continuous; chains of two and three, exchanged together."""
    four, model, columns = fitted(mediators, outcome, interaction=interaction)
    assert engine_means(model, columns, mediators) == pytest.approx(four.means, abs=1e-10)


def test_one_mediator_of_a_chain_is_exchanged_alone() -> None:
    """Through M alone, K follows M as its own world says: by enumeration of both."""
    four, model, columns = fitted(["M", "K"], interaction=True)
    first, second, outcome = four.equations
    for exchanged, worlds in ((["M"], lambda a, b: (b, a)), (["K"], lambda a, b: (a, b))):
        expected = []
        for a in (0.0, 1.0):
            for b in (0.0, 1.0):
                of_m, of_k = worlds(a, b)
                total = np.zeros(800)
                for m in (0.0, 1.0):
                    for k in (0.0, 1.0):
                        p = first.mean({**columns, "A 1": np.full(800, of_m)}, 800)
                        at = {**columns, "A 1": np.full(800, of_k), "M": np.full(800, m)}
                        q = second.mean(at, 800)
                        at = {**at, "A 1": np.full(800, a), "K": np.full(800, k)}
                        chance = (p if m else 1 - p) * (q if k else 1 - q)
                        total += chance * outcome.mean(at, 800)
                expected.append(total.mean())
        assert engine_means(model, columns, exchanged) == pytest.approx(expected, abs=1e-10)


def test_a_chain_of_two_continuous_mediators_has_its_closed_form() -> None:
    equations = (
        Equation("X", "continuous", ((), ("a",)), (0.2, 0.7), 1.3),
        Equation("Z", "continuous", ((), ("a",), ("X",)), (0.1, -0.4, 0.5), 0.8),
        Equation("Y", "continuous", ((), ("a",), ("X",), ("Z",)), (1.0, 0.3, 0.6, 0.9)),
    )
    model = Tabular(equations, "a", ["c"])
    rows = {"c": np.zeros(3)}
    through_x = engine_means(model, rows, ["X"])
    assert through_x[1] - through_x[0] == pytest.approx(0.7 * (0.6 + 0.5 * 0.9), abs=1e-10)
    through_z = engine_means(model, rows, ["Z"])
    assert through_z[1] - through_z[0] == pytest.approx(-0.4 * 0.9, abs=1e-10)
    both = engine_means(model, rows, ["X", "Z"])
    assert both[1] - both[0] == pytest.approx(0.7 * 1.05 - 0.36, abs=1e-10)
    patterns = collapse({"c": np.zeros(3)})
    assert both == pytest.approx(arm_means(equations, "a", patterns), abs=1e-10)


def test_replacing_a_stage_by_itself_changes_nothing() -> None:
    _, model, columns = fitted(["M", "K"])
    rows = np.column_stack([columns["c"], columns["d"]])[:20].tolist()
    examples = patient_examples(rows, levels=(1.0, 1.0))
    mediator = Mediator.of([model.stage_of["M"]])
    engine = Engine(model, [CONTRAST], [mediator], altered={})
    arms = {arm.arm: arm.readout["y"].numpy() for arm in engine.run(examples)}
    for arm in ARMS:
        assert (arms[arm] == arms["00"]).all()


def test_an_equation_that_reads_what_is_not_there_is_refused() -> None:
    equation = Equation("Y", "binary", ((), ("M",)), (0.0, 1.0))
    with pytest.raises(BadModel, match=r"'Y' reads \['M'\]"):
        Tabular((equation,), "a")
