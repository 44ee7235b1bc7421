"""One simulated data set, analysed with everything that is offered; see coverage.py."""

from __future__ import annotations

import numpy as np
from coverage_alternatives import alternatives, one_direction
from coverage_scenarios import DRAWS, SCENARIOS, ZERO, Truth, planted_world, record, record_test

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.attributable_change import Scored, attributable_change, decide
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import EFFECTS, combine, effects
from vlbias.analysis.object_support import held_out_signs, support
from vlbias.analysis.permutation import swap_test
from vlbias.analysis.simulated_scores import SimulatedCondition

PERMUTATIONS = 199
OF_OTHERS = 200  # headline replicates that also try what is not offered


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
    rows += alternatives(panel, y, used, truth, rng)
    goals = {"00": {"00": 1.0}, "TE": {"11": 1.0, "00": -1.0}}
    rows += one_direction(panel, y, used, goals, truth, rng)
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
        rows += alternatives(panel, y, used, truth, rng)
        goals = {"00": {"00": 1.0}, "TE": {"11": 1.0, "00": -1.0}}
        rows += one_direction(panel, y, used, goals, truth, rng)
    p = swap_test(panel, y["00"], y["11"], ZERO, objects=used, permutations=99, rng=rng)
    record_test(rows, "swap permutation: predictions changed", p)
    return rows


def family(n: int, scenario: str, seed: int) -> list[dict]:
    """Ten mediators that do nothing: how often any of them is called significant."""
    world = planted_world(SCENARIOS[scenario].biased)
    rng = np.random.default_rng([n, list(SCENARIOS).index(scenario), 2 * 10**6 + seed])
    names = [f"{arm} {i}" for i in range(10) for arm in ("01", "10")]
    arms = {"00": SimulatedCondition(agreement=1.0), "11": SimulatedCondition()} | dict.fromkeys(
        names, SimulatedCondition()
    )
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
    null, other = (Scored(y[arm], ZERO) for arm in ("00", "11"))
    found = attributable_change(panel, null, other, objects=used, draws=DRAWS, rng=rng)
    wanted = {"intervention - threshold": ("attributable", {"11": 1.0, "matched": -1.0})}
    if with_total:
        wanted["intervention - null"] = ("TE", {"11": 1.0, "00": -1.0})
    for row in found.table[found.table["effect"].isin(list(wanted))].itertuples():
        name, terms = wanted[row.effect]
        goal = truth.combination(terms, row.functional, used)
        last = row.functional == "B_crossfit" and name == "attributable"
        more = {"reduced": float(decide(row.lo, row.hi) == "reduced")} if last else {}
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
