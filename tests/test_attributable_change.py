"""What an intervention changes, and what of it is its own: known answers on planted worlds."""

from __future__ import annotations

import numpy as np
import pytest

from vlbias.analysis.attributable_change import AttributableChange, Scored, attributable_change
from vlbias.analysis.object_support import held_out_signs, support
from vlbias.analysis.panel import Panel
from vlbias.analysis.pareto import pareto
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


def found(mitigated: str, placebo: str | None = "placebo", n: int = 3000) -> AttributableChange:
    panel, y, objects = data(n)
    signs = {"fpr": held_out_signs(panel, y["null"], ZERO, objects=objects)}
    placebos = {} if placebo is None else {"placebo 1": Scored(y[placebo], ZERO)}
    return attributable_change(
        panel, Scored(y["null"], ZERO), Scored(y[mitigated], ZERO), placebos, objects=objects,
        rng=np.random.default_rng(1), signs=signs, draws=300,
    )  # fmt: skip


def test_what_removes_the_gaps_is_reduced_and_a_moved_threshold_is_not() -> None:
    good = found("good")
    assert good.decision == "reduced"
    assert good.row("intervention - class thresholds")["hi"] < 0
    assert good.row("intervention - placebo")["hi"] < 0
    strict = found("strict")
    for effect in ("intervention - threshold", "intervention - class thresholds"):
        assert strict.row(effect)["estimate"] == pytest.approx(0, abs=1e-12)
    assert strict.row("intervention - null")["hi"] < 0, "the plain comparison is fooled"


def test_a_class_wise_threshold_is_no_reduction_where_one_shift_would_call_it_one() -> None:
    """Item 2 of the hostile worlds: only gendered classes get stricter."""
    panel, y, objects = data()
    world = y["null"] - np.float32(0.5) * (np.arange(12) < 6)
    result = attributable_change(
        panel, Scored(y["null"], ZERO), Scored(world, ZERO), objects=objects,
        rng=np.random.default_rng(1), draws=300,
    )  # fmt: skip
    beyond = result.row("intervention - class thresholds")
    assert beyond["estimate"] == pytest.approx(0, abs=1e-9)
    assert beyond["lo"] <= 0 <= beyond["hi"]


def test_doing_nothing_is_nothing_and_a_mitigation_like_its_placebo_is_not_its_own() -> None:
    same = found("null", "null")
    for effect in ("intervention - null", "intervention - threshold", "intervention - placebo"):
        row = same.row(effect)
        assert (row["estimate"], row["lo"], row["hi"]) == (0, 0, 0)
    assert same.decision == "not shown"
    both = found("good", "good")
    assert both.decision == "reduced"
    assert both.row("intervention - placebo")["estimate"] == 0
    alone = found("good", None)
    assert alone.placebos == 0
    with pytest.raises(KeyError, match="placebo"):
        alone.row("intervention - placebo")


def test_what_adds_gaps_is_increased() -> None:
    panel, y, objects = data()
    worse = y["null"] + 2 * (y["null"] - y["good"])
    signs = {"fpr": held_out_signs(panel, y["null"], ZERO, objects=objects)}
    result = attributable_change(
        panel, Scored(y["null"], ZERO), Scored(worse, ZERO), {}, objects=objects,
        rng=np.random.default_rng(1), signs=signs, draws=300,
    )  # fmt: skip
    assert result.decision == "increased"
    row = result.row("intervention - null", "B_plugin")
    assert row["lo"] > 0
    assert row["p"] < 0.05


def test_the_p_of_the_change_of_b_agrees_with_its_limits() -> None:
    for name in ARMS:
        row = found(name).row("intervention - null", "B_plugin")
        assert (row["p"] < 0.05) == (row["hi"] < 0 or row["lo"] > 0)


def test_random_placebos_give_a_rank() -> None:
    panel, y, objects = data(800)
    rng = np.random.default_rng(2)
    drawn = {
        f"placebo {i}": Scored((y["null"] + 0.3 * rng.normal(size=y["null"].shape)), ZERO)
        for i in range(19)
    }
    base = Scored(y["null"], ZERO)

    def rank(one: Scored) -> float:
        return attributable_change(
            panel, base, one, drawn, objects=objects, rng=np.random.default_rng(0), draws=50
        ).placebo_rank_p

    assert rank(Scored(y["good"], ZERO)) == pytest.approx(2 / 20)
    assert rank(drawn["placebo 3"]) > 2 / 20
    few = dict(list(drawn.items())[:18])
    result = attributable_change(
        panel, base, base, few, objects=objects, rng=np.random.default_rng(0), draws=50
    )
    assert np.isnan(result.placebo_rank_p)


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

    null, good = linear("null"), linear("good")
    assert result.row("intervention - null")["estimate"] == pytest.approx(good - null, abs=1e-6)
    # two shifts can come equally near: one more or less of some hundred photos
    own = good - shifted("good")
    assert result.row("intervention - threshold")["estimate"] == pytest.approx(own, abs=0.02)

    def by_class(arm: str) -> float:
        """B_lin of the null arm whose every class has as many false positives as the arm."""
        total = 0.0
        for k, sign in zip(objects, signs, strict=True):
            absent = ~panel.present[:, k]
            wanted = int((y[arm][absent, k] >= 0).sum())
            limit = np.sort(y["null"][absent, k])[::-1][wanted - 1]
            total += sign * naive_gap(panel, y["null"], limit, k)
        return float(total)

    parts = {arm: linear(arm) - by_class(arm) for arm in ("good", "placebo")}
    for effect, want in (
        ("intervention - class thresholds", parts["good"]),
        ("placebo - class thresholds", parts["placebo"]),
        ("intervention - placebo", parts["good"] - parts["placebo"]),
    ):
        assert result.row(effect)["estimate"] == pytest.approx(want, abs=1e-6)
    assert result.row("intervention - placebo")["relative"] == pytest.approx(
        (parts["good"] - parts["placebo"]) / null, abs=1e-6
    )


def test_without_support_nothing_is_said() -> None:
    panel, y, _ = data(100)
    with pytest.raises(BadStudy):
        attributable_change(
            panel, Scored(y["null"], ZERO), Scored(y["good"], ZERO), {},
            objects=np.zeros(0, np.intp), rng=np.random.default_rng(0),
        )  # fmt: skip


def test_the_front_by_hand() -> None:
    front = pareto([3.0, 2.0, 2.0, 1.0, 3.0], [0.5, 0.4, 0.3, 0.1, 0.5])
    assert front.tolist() == [True, True, False, True, True]
