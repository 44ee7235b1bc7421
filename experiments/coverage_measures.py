"""One simulated data set for what the main cells leave out: other measures, and three groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from coverage_scenarios import DRAWS, SCENARIOS, ZERO, planted_world, record, record_test
from scipy.special import ndtr

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import combine
from vlbias.analysis.functionals import crossfit_target
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Panel
from vlbias.analysis.rates import Measure, Thresholds
from vlbias.analysis.simulated_scores import PlantedWorld, SimulatedCondition


def measures(n: int, scenario: str, seed: int) -> list[dict]:
    """True-positive rates, mean scores, and B of three groups by both aggregates."""
    world = planted_world(SCENARIOS[scenario].biased)
    rng = np.random.default_rng([n, list(SCENARIOS).index(scenario), 3 * 10**6 + seed])
    other = SCENARIOS[scenario].arms["11"]
    panel, y = world.draw(n, {"00": SimulatedCondition(1.0, 0.0, 1.0), "11": other}, rng)
    rows = _two_groups(world, panel, y["00"], "tpr", world.level, rng)
    rows += _two_groups(world, panel, y["00"], "score", None, rng)
    three = _split(panel, rng)
    used = support(three, y["00"], ZERO)
    if len(used) == 0:
        return rows
    return (
        rows
        + _three_groups(world, three, y["00"], used, rng)
        + _three_effects(world, three, y, used, other, rng)
    )


def _two_groups(
    world: PlantedWorld,
    panel: Panel,
    scores: np.ndarray,
    measure: Measure,
    thresholds: Thresholds | None,
    rng: np.random.Generator,
) -> list[dict]:
    used = support(panel, scores, thresholds, measure=measure)
    if len(used) == 0:
        return []  # no object with support: nothing is said
    shares = np.array([[world.ratio], [1 - world.ratio]])
    if measure == "tpr":
        # at a threshold in the middle of each object's scores, half of the present are found
        rates = ndtr(np.stack([world.bias / 2, -world.bias / 2]))
        variance, counts = rates * (1 - rates), len(panel) * shares * world.prevalence
        gap = (rates[0] - rates[1])[None, used]
    else:
        variance, counts = (
            np.ones((2, len(world.bias))),
            len(panel) * shares * (1 - world.prevalence),
        )
        gap = world.bias[None, used]
    spread = np.sqrt((variance / counts).sum(axis=0))[None, used]
    found = disparity(
        panel, scores, thresholds, measure=measure, objects=used, permutations=99, draws=DRAWS,
        rng=rng,
    )  # fmt: skip
    name = {"tpr": "true-positive rates", "score": "mean scores"}[measure]
    rows: list[dict] = []
    record(rows, f"B of {name}", found.lo, found.hi, float(np.abs(gap).sum()))
    goal = crossfit_target(gap, spread)
    record(rows, f"cross-fit functional of {name}", found.crossfit_lo, found.crossfit_hi, goal)
    record_test(rows, f"label permutation, {name}", found.p)
    return rows


def _split(panel: Panel, rng: np.random.Generator) -> Panel:
    """Half of the larger group gets a label of its own and no gap to the other half."""
    moved = (panel.group == "a") & (rng.random(len(panel)) < 0.5)
    return replace(panel, group=np.where(moved, "c", panel.group), groups=("a", "b", "c"))


def _three_truths(
    world: PlantedWorld, condition: SimulatedCondition, n: int, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """[3, K'] true gaps of the pairs a b, a c, b c, and their standard errors."""
    rates = world.rates(condition)[:, used]
    gap = rates[0] - rates[1]
    variance = rates * (1 - rates) / (n * (1 - world.prevalence[used]))
    part = np.stack([variance[0] / (world.ratio / 2), variance[1] / (1 - world.ratio)])
    spread = np.sqrt(np.stack([part[0] + part[1], 2 * part[0], part[0] + part[1]]))
    return np.stack([gap, np.zeros_like(gap), -gap]), spread


def _three_groups(
    world: PlantedWorld,
    three: Panel,
    scores: np.ndarray,
    used: np.ndarray,
    rng: np.random.Generator,
) -> list[dict]:
    gaps, spread = _three_truths(world, SimulatedCondition(), len(three), used)
    rows: list[dict] = []
    for aggregate, goal in (("pairwise", 2 / 3), ("range", 1.0)):
        found = disparity(
            three, scores, ZERO, aggregate=aggregate, objects=used, permutations=99, draws=DRAWS,
            rng=rng,
        )  # fmt: skip
        name = f"B of three groups, {aggregate}"
        record(rows, name, found.lo, found.hi, goal * float(np.abs(gaps[0]).sum()))
        record_test(rows, f"label permutation, three groups, {aggregate}", found.p)
        if aggregate == "pairwise":
            name = "cross-fit functional of three groups"
            target = crossfit_target(gaps, spread)
            record(rows, name, found.crossfit_lo, found.crossfit_hi, target)
    return rows


def _three_effects(
    world: PlantedWorld,
    three: Panel,
    y: Mapping[str, np.ndarray],
    used: np.ndarray,
    other: SimulatedCondition,
    rng: np.random.Generator,
) -> list[dict]:
    """Total effect on three groups."""
    gaps, spread = _three_truths(world, SimulatedCondition(), len(three), used)
    after, wide = _three_truths(world, other, len(three), used)
    goals = {
        "B_plugin": float(np.abs(after).mean(axis=0).sum() - np.abs(gaps).mean(axis=0).sum()),
        "B_crossfit": crossfit_target(after, wide) - crossfit_target(gaps, spread),
        "B_lin": crossfit_target(gaps, spread, after) - crossfit_target(gaps, spread),
    }
    found = combine(
        three, y, (Combination("TE", {"11": 1, "00": -1}),), base="00", thresholds=ZERO,
        objects=used, functionals=("B_plugin", "B_crossfit", "B_lin"), draws=DRAWS, rng=rng,
    )  # fmt: skip
    rows: list[dict] = []
    for row in found.itertuples():
        name = f"{row.functional}, three groups: TE"
        record(rows, name, row.lo, row.hi, goals[row.functional])
    return rows
