"""One simulated data set for what stands beside B: objects, areas, modalities, shares, odds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from coverage_scenarios import DRAWS, SCENARIOS, ZERO, Truth, planted_world, record, record_test
from scipy.special import ndtr

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.curve_gaps import superiority_gaps
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import MODALITIES, combine
from vlbias.analysis.mean_effects import mean_effects
from vlbias.analysis.object_support import support
from vlbias.analysis.odds import Odds, odds_effects
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.ranking_fairness import bias_amplification
from vlbias.analysis.shapley import coalitions, increments, shapley
from vlbias.analysis.simulated_scores import PlantedWorld, SimulatedCondition

PARTS = ("image", "text", "fusion")
PATH = ("null", "layer 1", "layers 1-2", "layers 1-3")
PER_CLUSTER = 5


def others(n: int, scenario: str, seed: int) -> list[dict]:
    """Objects one by one, areas under the curve, 2 x 2 of modalities, Shapley, layers, odds."""
    plan = SCENARIOS[scenario]
    world = planted_world(plan.biased)
    rng = np.random.default_rng([n, list(SCENARIOS).index(scenario), 5 * 10**6 + seed])
    left = plan.arms["11"].scale
    arms = _modalities(left) | _coalitions(left) | _path(left)
    panel, y = world.draw(n, arms, rng)
    rows = _areas(world, panel, y["null"], rng) + _odds(n, rng) + _means(world, panel, y, left)
    rows += _amplification(world, panel, y["null"], rng)
    used = support(panel, y["null"], ZERO)
    if len(used) == 0:
        return rows
    truth = Truth(world, arms | {"00": arms["null"]}, n)
    rows += _objects(panel, y["null"], used, truth, rng)
    for base, combinations in (
        ("null", MODALITIES),
        ("none", shapley(PARTS)),
        ("null", increments(PATH)),
    ):
        rows += _combined(panel, y, used, truth, combinations, base, rng)
    return rows


def only_odds(n: int, scenario: str, seed: int) -> list[dict]:
    """Odds alone, for more data sets than all of `others` allows."""
    return _odds(n, np.random.default_rng([n, 7 * 10**6 + seed]))


def _modalities(left: float) -> dict[str, SimulatedCondition]:
    """Image and text each take out a part, and both together all: an interaction is planted."""
    part = 1 - (1 - left) / 3
    return {
        "null": SimulatedCondition(1.0, 0.0, 1.0),
        "image": SimulatedCondition(part),
        "text": SimulatedCondition(part),
        "both": SimulatedCondition(left),
    }


def _coalitions(left: float) -> dict[str, SimulatedCondition]:
    """Each encoder takes out a third on the scale of scores; rates bend that a little."""
    return {
        name: SimulatedCondition(1 - (1 - left) * sum(p in name for p in PARTS) / len(PARTS))
        if name != "none"
        else SimulatedCondition(1.0, 0.0, 1.0)
        for name in coalitions(PARTS)
    }


def _path(left: float) -> dict[str, SimulatedCondition]:
    return {name: SimulatedCondition(1 - (1 - left) * i / 3) for i, name in enumerate(PATH) if i}


def _objects(
    panel: Panel, scores: Floats, used: np.ndarray, truth: Truth, rng: np.random.Generator
) -> list[dict]:
    """Share of the objects' limits that hold the truth."""
    table = disparity(
        panel, scores, ZERO, objects=used, permutations=19, draws=20, rng=rng
    ).objects.iloc[used]
    gap = truth.gap("null", used)[0]
    held = ((table["lo"] <= gap) & (gap <= table["hi"])).to_numpy()
    return [_share("gap of one object, Newcombe", held, (table["hi"] - table["lo"]).to_numpy())]


def _share(name: str, held: np.ndarray, width: np.ndarray) -> dict:
    return {
        "quantity": name,
        "covered": float(held.mean()),
        "width": float(np.median(width)),
        "rejected": np.nan,
        "truth": np.nan,
    }


def _areas(
    world: PlantedWorld, panel: Panel, scores: Floats, rng: np.random.Generator
) -> list[dict]:
    found = superiority_gaps(panel, scores, permutations=59, rng=rng)
    ok = (found.objects["status"] == "ok").to_numpy()
    gap = found.objects["gap_a_b"].to_numpy()[ok]
    reach = 1.96 * found.objects["se_a_b"].to_numpy()[ok]
    true = ndtr(world.bias[ok] / np.sqrt(2)) - 0.5
    rows = [_share("AUC gap of one object, DeLong", np.abs(gap - true) <= reach, 2 * reach)]
    record_test(rows, "label permutation, AUC gaps", found.p)
    return rows


def _combined(
    panel: Panel,
    y: Mapping[str, Floats],
    used: np.ndarray,
    truth: Truth,
    combinations: Sequence[Combination],
    base: str,
    rng: np.random.Generator,
) -> list[dict]:
    rows: list[dict] = []
    named = {name for c in combinations for name in c.terms} | {base}
    terms = {c.name: c.terms for c in combinations}
    found = combine(
        panel, {a: y[a] for a in named}, combinations, base=base, thresholds=ZERO, objects=used,
        functionals=("B_plugin", "B_crossfit", "B_lin"), draws=DRAWS, rng=rng,
    )  # fmt: skip
    for row in found.itertuples():
        goal = truth.combination(terms[row.effect], row.functional, used)
        record(rows, f"{row.functional}: {row.effect}", row.lo, row.hi, goal)
    return rows


def _means(world: PlantedWorld, panel: Panel, y: Mapping[str, Floats], left: float) -> list[dict]:
    """Mean effects on one object's score, in all images and between the groups."""
    column = int(np.argmax(np.abs(world.bias)))
    frame = pd.DataFrame(
        {
            "sample_id": np.tile(panel.sample, 2),
            "cluster": np.tile(panel.cluster, 2),
            "group": np.tile(panel.group, 2),
            "contrast": "null->both",
            "mediator": "",
            "outcome": "score",
            "target": "object",
            "arm": np.repeat(["00", "11"], len(panel)),
            "value": np.concatenate([y["null"][:, column], y["both"][:, column]]),
        }
    )
    change = world.bias[column] * (left - 1)
    rows: list[dict] = []
    table = mean_effects(frame, by="group", draws=DRAWS, rng=np.random.default_rng(0))
    for row in table.itertuples():
        goal = {"a": change / 2, "b": -change / 2, "a - b": change}[row.group]
        record(rows, f"mean score: TE, {row.group}", row.lo, row.hi, goal)
    return rows


def _amplification(
    world: PlantedWorld, panel: Panel, scores: Floats, rng: np.random.Generator
) -> list[dict]:
    """Predictions know nothing of what is there: they differ from it in every cell."""
    attribute = np.stack([panel.group == g for g in panel.groups], axis=1)
    _, (lo, hi), table = bias_amplification(attribute, panel.present, scores >= 0, rng=rng)
    delta = world.rates(SimulatedCondition()) - world.prevalence
    rows: list[dict] = []
    goal = float((table["sign"].to_numpy().reshape(delta.shape) * delta).mean())
    record(rows, "bias amplification, signs from half the images", lo, hi, goal)
    return rows


def _odds(n: int, rng: np.random.Generator) -> list[dict]:
    """Log ratios with a mean of 0.4 in clusters of five; half of their variance is the cluster's."""
    code = np.repeat(np.arange(-(-n // PER_CLUSTER)), PER_CLUSTER)[:n]
    own, shared = rng.standard_normal(n), rng.standard_normal(code[-1] + 1)[code]
    rows: list[dict] = []
    for spread in (0.3, 1.0):
        change = 0.4 + spread * np.sqrt(0.5) * (own + shared)
        null = 0.3 * rng.standard_normal(n)
        odds = Odds(null, null + change, code.astype(str), DRAWS, int(rng.integers(2**31)))
        mean = np.exp(0.4 + spread**2 / 2)
        goals = {
            "mean": mean - 1,
            "median": np.exp(0.4) - 1,
            "geometric": np.exp(0.4) - 1,
            "log": 0.4,
            "difference": np.exp(0.3**2 / 2) * (mean - 1),
        }
        for row in odds_effects(odds).itertuples():
            if not np.isnan(row.lo):
                name = f"odds, {row.summary}, spread {spread}"
                record(rows, name, row.lo, row.hi, goals[row.summary])
    return rows
