"""What of a reduction is a mitigation's own: known answers on planted worlds."""

from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.object_support import held_out_signs, support
from vlbias.analysis.panel import Panel
from vlbias.analysis.placebo_adjusted import PlaceboAdjusted, Scored, pareto, placebo_adjusted
from vlbias.analysis.simulated_scores import SimulatedCondition, make_world
from vlbias.errors import BadStudy

ZERO = np.zeros(12)
ARMS = {
    "null": SimulatedCondition(agreement=1.0),
    "good": SimulatedCondition(0.0),
    "strict": SimulatedCondition(1.0, 0.4, agreement=1.0),
    "placebo": SimulatedCondition(1.0),
}


def data(n: int = 3000) -> tuple[Panel, dict[str, np.ndarray], np.ndarray]:
    world = make_world(np.random.default_rng(5), objects=12, biased=1.0, size=0.6, fpr=0.08)
    panel, y = world.draw(n, ARMS, np.random.default_rng(0))
    return panel, y, support(panel, y["null"], ZERO)


def found(mitigated: str, placebo: str | None = "placebo", n: int = 3000) -> PlaceboAdjusted:
    panel, y, objects = data(n)
    signs = {"fpr": held_out_signs(panel, y["null"], ZERO, objects=objects)}
    placebos = {} if placebo is None else {"placebo 1": Scored(y[placebo], ZERO)}
    return placebo_adjusted(
        panel, Scored(y["null"], ZERO), Scored(y[mitigated], ZERO), placebos, objects=objects,
        rng=np.random.default_rng(1), signs=signs, draws=300,
    )  # fmt: skip


def test_what_removes_the_gaps_is_reduced_and_a_moved_threshold_is_not() -> None:
    assert found("good").decision == "reduced"
    strict = found("strict")
    assert strict.decision == "not distinguishable"
    assert strict.row("mitigated - threshold")["estimate"] == pytest.approx(0, abs=1e-12)
    assert strict.row("mitigated - null")["estimate"] < 0, "the plain comparison is fooled"


def test_doing_nothing_is_nothing_and_a_mitigation_like_its_placebo_is_not_its_own() -> None:
    same = found("null", "null")
    for effect in ("mitigated - null", "mitigated - threshold", "attributable"):
        row = same.row(effect)
        assert (row["estimate"], row["lo"], row["hi"]) == (0, 0, 0)
    assert same.decision == "not distinguishable"
    both = found("good", "good")
    assert both.decision == "reduced, not shown beyond its placebo"
    assert both.row("attributable")["estimate"] == 0
    assert found("good", None).decision == "reduced, no placebo run"


def test_what_adds_gaps_is_increased() -> None:
    panel, y, objects = data()
    worse = y["null"] + 2 * (y["null"] - y["good"])
    signs = {"fpr": held_out_signs(panel, y["null"], ZERO, objects=objects)}
    result = placebo_adjusted(
        panel, Scored(y["null"], ZERO), Scored(worse, ZERO), {}, objects=objects,
        rng=np.random.default_rng(1), signs=signs, draws=300,
    )  # fmt: skip
    assert result.decision == "increased"


def naive_gap(panel: Panel, scores: np.ndarray, threshold: float, column: int) -> float:
    rates = []
    for group in panel.groups:
        rows = [
            i for i in range(len(panel)) if panel.group[i] == group and not panel.present[i, column]
        ]
        rates.append(sum(scores[i, column] >= threshold for i in rows) / len(rows))
    return rates[0] - rates[1]


def test_every_estimate_by_naive_loops() -> None:
    panel, y, objects = data(600)
    result = found("good", n=600)
    signs = [np.sign(naive_gap(panel, y["null"], 0.0, k)) for k in objects]

    def linear(arm: str, threshold: float = 0.0) -> float:
        gaps = [naive_gap(panel, y[arm], threshold, k) for k in objects]
        return float(np.dot(signs, gaps))

    def shifted(arm: str) -> float:
        """B_lin of the null arm at the shift of least distance to the arm's mean rate, by search."""

        def rate(scores: np.ndarray, threshold: float) -> float:
            return float(
                np.mean([(scores[~panel.present[:, k], k] >= threshold).mean() for k in objects])
            )

        wanted = rate(y[arm], 0.0)
        values = np.concatenate([y["null"][~panel.present[:, k], k] for k in objects])
        near = np.sort(values[np.abs(values) < 0.3])
        middle = (near[1:] + near[:-1]) / 2
        best = min(middle, key=lambda t: abs(rate(y["null"], t) - wanted))
        return linear("null", float(best))

    null, good, placebo = linear("null"), linear("good"), linear("placebo")
    own, theirs = good - shifted("good"), placebo - shifted("placebo")
    assert result.row("mitigated - null", "B_lin")["estimate"] == pytest.approx(
        good - null, abs=1e-6
    )
    # two shifts can come equally near: one more or less of some hundred photos
    assert result.row("mitigated - threshold", "B_lin")["estimate"] == pytest.approx(own, abs=0.02)
    assert result.row("placebo - threshold", "B_lin")["estimate"] == pytest.approx(theirs, abs=0.02)
    parts = [
        result.row(e, "B_lin")["estimate"] for e in ("mitigated - threshold", "placebo - threshold")
    ]
    assert result.row("attributable", "B_lin")["estimate"] == pytest.approx(
        parts[0] - parts[1], abs=1e-9
    )
    assert result.row("attributable", "B_lin")["relative"] == pytest.approx(
        (parts[0] - parts[1]) / null, abs=1e-6
    )


def test_without_support_nothing_is_said() -> None:
    panel, y, _ = data(100)
    with pytest.raises(BadStudy):
        placebo_adjusted(
            panel, Scored(y["null"], ZERO), Scored(y["good"], ZERO), {},
            objects=np.zeros(0, np.intp), rng=np.random.default_rng(0),
        )  # fmt: skip


def test_the_front_by_hand() -> None:
    front = pareto([3.0, 2.0, 2.0, 1.0, 3.0], [0.5, 0.4, 0.3, 0.1, 0.5])
    assert front.tolist() == [True, True, False, True, True]
