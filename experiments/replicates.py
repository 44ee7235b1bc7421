"""One simulated data set, analysed with everything that is offered; see coverage.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.disparity import disparity, held_out_signs, support
from vlbias.analysis.effects import EFFECTS, combine, effects
from vlbias.analysis.functionals import crossfit_target
from vlbias.analysis.inference import cluster_weights, multipliers
from vlbias.analysis.operating_point import attributable
from vlbias.analysis.permutation import swap_test
from vlbias.analysis.rates import measure_rates, noise
from vlbias.analysis.simulated_scores import (
    Condition,
    PlantedWorld,
    make_world,
    mediated_conditions,
)

DRAWS = 300
PERMUTATIONS = 199
OF_OTHERS = 200  # headline replicates that also try what is not offered
ZERO = np.zeros(79)


@dataclass(frozen=True)
class Scenario:
    """What is planted: a share of biased objects and the conditions of the arms."""

    biased: float
    arms: Mapping[str, Condition]


def _scenario(biased: float, effect: float = 0.0, shift: float = 0.0) -> Scenario:
    arms = mediated_conditions(effect, 0.5)
    arms = {
        a: Condition(c.scale, shift if a in ("11", "01") else 0.0, c.agreement)
        for a, c in arms.items()
    }
    # the placebo shares the shift but not the effect: what is left of the effect is the truth
    return Scenario(biased, arms | {"placebo": Condition(1.0, shift, 0.9)})


SCENARIOS = {
    "no bias, nothing done": _scenario(0.0),
    "no bias, threshold +0.15 SD": _scenario(0.0, shift=0.15),
    "bias, nothing done": _scenario(0.5),
    "bias, threshold +0.15 SD": _scenario(0.5, shift=0.15),
    "bias, 25 % removed": _scenario(0.5, effect=0.25),
}


def planted_world(biased: float) -> PlantedWorld:
    """The objects of all replicates."""
    return make_world(np.random.default_rng(7), biased=biased)


class Truth:
    """True functionals over the objects used."""

    def __init__(self, world: PlantedWorld, arms: Mapping[str, Condition], n: int) -> None:
        self.world, self.arms, self.n = world, dict(arms), n

    def gap(self, arm: str, used: np.ndarray, measure: str = "fpr") -> np.ndarray:
        """True gaps."""
        return self.world.gaps(self.arms[arm], measure)[:, used]

    def spread(self, arm: str, used: np.ndarray, measure: str = "fpr") -> np.ndarray:
        """True standard errors of the gaps."""
        return self.world.spread(self.arms[arm], self.n, measure)[:, used]

    def value(self, arm: str, functional: str, used: np.ndarray) -> float:
        """The true functional of one arm."""
        measure = "score" if functional.startswith("score") else "fpr"
        gap = self.gap(arm, used, measure)
        if functional == "B_plugin":
            return float(np.abs(gap).sum())
        if functional.endswith("crossfit"):
            return crossfit_target(gap, self.spread(arm, used, measure))
        null = self.gap("00", used, measure), self.spread("00", used, measure)
        return crossfit_target(*null, gap)

    def combination(self, terms: Mapping[str, float], functional: str, used: np.ndarray) -> float:
        """The true sum of arms."""
        return sum(c * self.value(a, functional, used) for a, c in terms.items())

    def add_matched(self, used: np.ndarray) -> None:
        """The threshold-only baseline with the mean FPR of arm 11."""

        def mean(condition: Condition) -> float:
            rates = self.world.rates(condition)[:, used]
            return float((rates.T @ [self.world.ratio, 1 - self.world.ratio]).mean())

        goal = mean(self.arms["11"])
        shift = brentq(lambda t: mean(Condition(1.0, t, 1.0)) - goal, -1, 1)
        self.arms["matched"] = Condition(1.0, float(shift), 1.0)


def record(rows: list[dict], name: str, lo: float, hi: float, truth: float, **more: float) -> None:
    """Adds whether an interval holds the truth."""
    rows.append(
        {
            "quantity": name,
            "covered": float(lo - 1e-12 <= truth <= hi + 1e-12),
            "width": hi - lo,
            "rejected": float(lo > 0 or hi < 0),
            "truth": truth,
        }
        | more
    )


def record_test(rows: list[dict], name: str, p: float) -> None:
    """Adds whether a test rejects."""
    rows.append({"quantity": name, "rejected": float(p <= 0.05)})


def _one_direction(panel, y, used, combos, truth, rng) -> list[dict]:
    """The alternative: signs from one random half, a plain paired interval in the other."""
    half = rng.permutation(len(panel))
    a, b = np.sort(half[::2]), np.sort(half[1::2])
    signs = np.sign(measure_rates(panel.take(a), y["00"][a], "fpr", ZERO, objects=used).gap)
    rates = {
        k: measure_rates(panel.take(b), y[k][b], "fpr", ZERO, objects=used) for k in ("00", "11")
    }
    rows: list[dict] = []
    for name, terms in combos.items():
        gradient = np.stack([signs[0], -signs[0]])
        value = sum(c * float((signs * rates[k].gap).sum()) for k, c in terms.items())
        part = sum(c * rates[k].influence(gradient) for k, c in terms.items())
        reach = 1.96 * float(np.sqrt((part**2).sum()))
        goal = sum(c * float((signs * truth.gap(k, used)).sum()) for k, c in terms.items())
        record(rows, f"one-direction split: {name}", value - reach, value + reach, goal)
    return rows


def _alternatives(panel, y, used, truth, rng) -> list[dict]:
    """Other constructions for B: L1 ball, simultaneous set, and the naive percentile bootstrap."""
    rows: list[dict] = []
    rates = measure_rates(panel, y["00"], "fpr", ZERO, objects=used)
    error = np.abs(noise([rates], multipliers(panel.layout, DRAWS, rng))[0][:, 0])
    gap, spread = np.abs(rates.gap[0]), rates.spread[0]
    ball = float(np.quantile(error.sum(axis=1), 0.95))
    total, goal = float(gap.sum()), truth.value("00", "B_plugin", used)
    record(rows, "L1 ball: B", max(0.0, total - ball), total + ball, goal)
    reach = float(np.quantile((error / spread).max(axis=1), 0.95)) * spread
    lower = float(np.maximum(gap - reach, 0).sum())
    record(rows, "simultaneous set: B", lower, float((gap + reach).sum()), goal)
    weights = cluster_weights(panel.layout.n_clusters, DRAWS, rng)
    order = panel.layout.order
    use = (~panel.present)[order][:, used].astype(np.float32)
    flip = weights[:, panel.layout.cluster].astype(np.float32)
    sums = {}
    for arm in ("00", "11"):
        hit = (y[arm][order][:, used] >= 0) * use
        parts = [
            flip[:, s] @ hit[s] / np.maximum(flip[:, s] @ use[s], 1) for s in rates.layout.spans
        ]
        sums[arm] = np.abs(parts[0] - parts[1]).sum(axis=1)
    lo, hi = np.quantile(sums["00"], [0.025, 0.975])
    record(rows, "NAIVE percentile bootstrap: B", lo, hi, goal)
    lo, hi = np.quantile(sums["11"] - sums["00"], [0.025, 0.975])
    change = truth.combination({"11": 1, "00": -1}, "B_plugin", used)
    record(rows, "NAIVE paired percentile bootstrap: change of B", lo, hi, change, reduced=hi < 0)
    return rows


def replicate(n: int, scenario: str, seed: int) -> list[dict]:
    """Everything offered, on one data set."""
    plan = SCENARIOS[scenario]
    world = planted_world(plan.biased)
    rng = np.random.default_rng([n, list(SCENARIOS).index(scenario), seed])
    panel, y = world.draw(n, plan.arms, rng)
    used = support(panel, y["00"], ZERO)
    if len(used) == 0:
        return [{"quantity": "insufficient", "rejected": 1.0}]
    truth = Truth(world, plan.arms, n)
    truth.add_matched(used)
    rows: list[dict] = [{"quantity": "objects with support", "truth": float(len(used))}]
    rows += _disparity(panel, y, used, truth, rng, permutations=PERMUTATIONS)
    rows += _alternatives(panel, y, used, truth, rng)
    goals = {"00": {"00": 1.0}, "TE": {"11": 1.0, "00": -1.0}}
    rows += _one_direction(panel, y, used, goals, truth, rng)
    rows += _effects(n, world, panel, y, used, truth, rng)
    p = swap_test(panel, y["00"], y["11"], ZERO, objects=used, permutations=PERMUTATIONS, rng=rng)
    record_test(rows, "swap permutation: predictions changed", p)
    return rows


def headline(n: int, scenario: str, seed: int) -> list[dict]:
    """B, its change, what is attributable and the decision: cheap enough for many replicates."""
    plan = SCENARIOS[scenario]
    world = planted_world(plan.biased)
    rng = np.random.default_rng([n, list(SCENARIOS).index(scenario), 10**6 + seed])
    arms = {a: plan.arms[a] for a in ("00", "11")}
    panel, y = world.draw(n, arms, rng)
    used = support(panel, y["00"], ZERO)
    if len(used) == 0:
        return [{"quantity": "insufficient", "rejected": 1.0}]
    truth = Truth(world, arms, n)
    truth.add_matched(used)
    rows: list[dict] = [{"quantity": "objects with support", "truth": float(len(used))}]
    rows += _disparity(panel, y, used, truth, rng, permutations=99)
    rows += _attributable(panel, y, used, truth, rng, with_total=True)
    if seed < OF_OTHERS:
        rows += _alternatives(panel, y, used, truth, rng)
        goals = {"00": {"00": 1.0}, "TE": {"11": 1.0, "00": -1.0}}
        rows += _one_direction(panel, y, used, goals, truth, rng)
    p = swap_test(panel, y["00"], y["11"], ZERO, objects=used, permutations=99, rng=rng)
    record_test(rows, "swap permutation: predictions changed", p)
    return rows


def family(n: int, scenario: str, seed: int) -> list[dict]:
    """Ten mediators that do nothing: how often any of them is called significant."""
    world = planted_world(SCENARIOS[scenario].biased)
    rng = np.random.default_rng([n, list(SCENARIOS).index(scenario), 2 * 10**6 + seed])
    names = [f"{arm} {i}" for i in range(10) for arm in ("01", "10")]
    arms = {"00": Condition(agreement=1.0), "11": Condition()} | dict.fromkeys(names, Condition())
    panel, y = world.draw(n, arms, rng)
    used = support(panel, y["00"], ZERO)
    if len(used) == 0:
        return [{"quantity": "insufficient", "rejected": 1.0}]
    stream = [(f"m{i}", y[f"01 {i}"], y[f"10 {i}"]) for i in range(10)]
    paths = {f"m{i}": ("image" if i < 5 else "text", f"layer {i}") for i in range(10)}
    found = effects(
        panel, y["00"], y["11"], stream, thresholds=ZERO, objects=used, paths=paths, draws=DRAWS,
        functionals=("B_crossfit", "B_lin", "score_gap_lin"), rng=rng,
    )  # fmt: skip
    rows: list[dict] = []
    nie = found.table[(found.table["effect"] == "NIE") & (found.table["mediator"] != "")]
    tree = found.tree[found.tree["effect"] == "NIE"]
    for functional, part in nie.groupby("functional"):
        record_test(
            rows, f"{functional}, any of 10 mediators, max-T", float(part["p_adjusted"].min())
        )
        record_test(rows, f"{functional}, any of 10 mediators, BH", float(part["p_bh"].min()))
        own = tree[tree["functional"] == functional]
        record_test(rows, f"{functional}, any node of the tree", float(own["p_adjusted"].min()))
    return rows


def held_out(n: int, scenario: str, seed: int) -> list[dict]:
    """The effects in directions that other images fixed: cheap enough for many replicates."""
    plan = SCENARIOS[scenario]
    world = planted_world(plan.biased)
    rng = np.random.default_rng([n, list(SCENARIOS).index(scenario), 4 * 10**6 + seed])
    panel, y = world.draw(n, plan.arms, rng)
    used = support(panel, y["00"], ZERO)
    if len(used) == 0:
        return [{"quantity": "insufficient", "rejected": 1.0}]
    truth = Truth(world, plan.arms, n)
    return _held_out(n, world, panel, y, used, truth, rng)


KINDS = {"full": replicate, "headline": headline, "family": family, "held-out": held_out}


def _held_out(n, world, panel, y, used, truth, rng) -> list[dict]:
    rows: list[dict] = []
    terms = {c.name: c.terms for c in EFFECTS}
    fit, z = world.draw(max(n // 2, 150), {"00": truth.arms["00"]}, rng)
    signs = held_out_signs(fit, z["00"], ZERO, objects=used)
    fixed = combine(
        panel, {a: y[a] for a in ("00", "11", "01", "10")}, EFFECTS, base="00", rng=rng,
        thresholds=ZERO, functionals=("B_lin",), signs={"fpr": signs}, objects=used, draws=DRAWS,
    )  # fmt: skip
    for row in fixed.itertuples():
        goal = sum(
            c * float((signs * truth.gap(a, used)).sum()) for a, c in terms[row.effect].items()
        )
        record(rows, f"B_lin, held-out signs: {row.effect}", row.lo, row.hi, goal)
    return rows


def _disparity(panel, y, used, truth, rng, *, permutations) -> list[dict]:
    rows: list[dict] = []
    b = disparity(
        panel, y["00"], ZERO, objects=used, permutations=permutations, draws=DRAWS,
        rng=rng,
    )  # fmt: skip
    record(rows, "B", b.lo, b.hi, truth.value("00", "B_plugin", used))
    goal = truth.value("00", "B_crossfit", used)
    record(rows, "cross-fit functional", b.crossfit_lo, b.crossfit_hi, goal)
    record_test(rows, "label permutation, studentised", b.p)
    record_test(rows, "label permutation, plug-in", b.p_plugin)
    record_test(rows, "any object, max-T", float(b.objects["p_max_t"].min()))
    record_test(rows, "any object, Benjamini-Hochberg", float(b.objects["p_bh"].min()))
    return rows


def _attributable(panel, y, used, truth, rng, *, with_total) -> list[dict]:
    rows: list[dict] = []
    found = attributable(panel, y["00"], y["11"], ZERO, objects=used, draws=DRAWS, rng=rng)
    wanted = {"mitigated - threshold": ("attributable", {"11": 1.0, "matched": -1.0})}
    if with_total:
        wanted["mitigated - null"] = ("TE", {"11": 1.0, "00": -1.0})
    for row in found.table[found.table["effect"].isin(list(wanted))].itertuples():
        name, terms = wanted[row.effect]
        goal = truth.combination(terms, row.functional, used)
        last = row.functional == "B_crossfit" and name == "attributable"
        more = {"reduced": float(found.decision == "reduced")} if last else {}
        record(rows, f"{row.functional}: {name}", row.lo, row.hi, goal, **more)
    return rows


def _effects(n, world, panel, y, used, truth, rng) -> list[dict]:
    rows: list[dict] = []
    table = effects(
        panel, y["00"], y["11"], [("m", y["01"], y["10"])], thresholds=ZERO, draws=DRAWS, rng=rng,
    ).table  # fmt: skip
    every = support(panel, y["00"], None, measure="score")
    terms = {c.name: c.terms for c in EFFECTS}
    for row in table[table["mediator"] == "m"].itertuples():
        columns = every if row.functional.startswith("score") else used
        goal = truth.combination(terms[row.effect], row.functional, columns)
        record(rows, f"{row.functional}: {row.effect}", row.lo, row.hi, goal)
        if row.functional == "B_lin" and row.effect in ("TE", "NIE"):
            bottom = truth.value("00", "B_lin", used)
            share = goal / bottom if bottom else 0.0
            record(rows, f"{row.functional}: {row.effect}, relative", row.relative_lo,
                    row.relative_hi, share)  # fmt: skip
    rows += _held_out(n, world, panel, y, used, truth, rng)
    minus = Combination("effect - placebo", {"11": 1, "placebo": -1})
    contrast = combine(
        panel, {a: y[a] for a in ("00", "11", "placebo")}, (minus,), base="00", rng=rng,
        thresholds=ZERO, objects=used, draws=DRAWS,
        functionals=("B_plugin", "B_crossfit", "B_lin"),
    )  # fmt: skip
    for row in contrast.itertuples():
        goal = truth.combination(minus.terms, row.functional, used)
        record(rows, f"{row.functional}: {row.effect}", row.lo, row.hi, goal)
    rows += _attributable(panel, y, used, truth, rng, with_total=False)
    return rows
