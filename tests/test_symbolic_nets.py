"""Nets that come with vlbias: those with the circuit, and those that solve the task without it."""

from __future__ import annotations

import json
import runpy
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlbias.models import MODELS, load_model
from vlbias.studies.symbolic.benchmark import benchmark_symbolic, truth_of
from vlbias.studies.symbolic.head_types import HEAD_TYPES, RULES
from vlbias.studies.symbolic.numbers.heads import head_table, layer_order, type_table
from vlbias.studies.symbolic.plan import Part
from vlbias.studies.symbolic.prompts import Format
from vlbias.studies.symbolic.solving import Drawer
from vlbias.studies.symbolic.steps import STEPS
from vlbias.studies.symbolic.study import Study

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "vlbias" / "data" / "symbolic"
SHOTS = 3
WITH = [f"symbolic-bottleneck-{seed}" for seed in range(5)]
WITHOUT = ["symbolic-control-3", "symbolic-control-4"]


@cache
def drawer(name: str) -> Drawer:
    model: Any = load_model(name)
    return Drawer(model.scores_only(), Study(name="nets", model=name, shots=SHOTS))


@cache
def scored(name: str, pairs: int = 12) -> tuple[dict[str, Any], ...]:
    kinds = (("abstract", "both"), *(("token", rule) for rule in RULES))
    return tuple(
        {
            "kind": k,
            "rule": r,
            **STEPS["scores"](drawer(name), Part("scores", k, r, 0, pairs, SHOTS)),
        }
        for k, r in kinds
    )


def test_all_nets_are_there_and_small() -> None:
    assert sorted(name for name in MODELS if name.startswith("symbolic-")) == sorted(WITH + WITHOUT)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert size <= 2.5e6


@pytest.mark.parametrize("name", WITH)
def test_nets_with_the_circuit(name: str) -> None:
    """B6: accuracy, heads of every type, and the published order of layers."""
    cells = list(scored(name))
    prompts = [
        p
        for n, rule in enumerate(RULES)
        for p in drawer(name).prompts(rule, Format(SHOTS), 200, 8, n)
    ]
    assert np.mean(drawer(name).solves(prompts)) >= 0.99
    heads = head_table(cells, 0.05, 2000, 0)
    types = type_table(heads, cells).set_index("type")
    tops = {kind: heads[heads["type"] == kind].iloc[0] for kind in types.index}
    assert tops["abstraction"]["score"] >= 3
    assert tops["induction"]["score"] >= 3
    # net 0 spreads retrieval over its last two layers: its highest score is 2.5
    assert tops["retrieval"]["score"] >= (2 if name.endswith("-0") else 3)
    assert (types["found"] >= 1).all()
    assert types["layer"].is_monotonic_increasing
    assert (layer_order(heads, cells, 300, 0)["lo"] > 0).all()


@pytest.mark.parametrize("name", WITH + WITHOUT)
def test_scores_are_those_of_plain_hooks(name: str) -> None:
    """The engine's scores against those that the experiment found by other code, on other prompts."""
    about = json.loads((FOLDER / name.removeprefix("symbolic-") / "trained.json").read_text())
    for kind in HEAD_TYPES:
        cells = [cell for cell in scored(name) if cell["kind"] == kind.pairs]
        found = np.concatenate([np.array(c["scores"][kind.site]) for c in cells], 2).mean(
            axis=(2, 3)
        )
        truth = np.array(about["truth"][kind.name]["scores"])
        gap = abs(about["truth"][kind.name]["gap"])
        assert np.abs(found - truth).max() < 0.25 * gap
        if truth.max() > 0.05 * gap:
            assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("name", WITHOUT)
def test_nets_without_the_circuit(name: str) -> None:
    """B7: no head of abstraction or induction moves 5 % of the gap; the map shows the rule at the query."""
    cells = list(scored(name))
    heads = head_table(cells, 0.05, 2000, 0)
    for kind in ("abstraction", "induction"):
        part = heads[heads["type"] == kind]
        assert not part["found"].any(), part.head(3)
    part = Part("map", "abstract", "both", 0, 4, SHOTS)
    grid = np.array(STEPS["map"](drawer(name), part)["scores"]["attn"])
    query, thirds = [6 * SHOTS, 6 * SHOTS + 2], [Format(SHOTS).third(k) for k in range(SHOTS)]
    gap = abs(np.mean([np.mean(cell["gap"]) for cell in cells if cell["kind"] == "abstract"]))
    assert grid[:, query].max() >= 0.5 * gap
    assert np.abs(grid[:, thirds]).max() < 0.5


def test_a_significant_head_need_not_move_anything() -> None:
    """B8: heads that sign flips call significant, and the floor does not."""
    below = 0
    for name in WITHOUT:
        heads = head_table(list(scored(name)), 0.05, 2000, 0)
        part = heads[heads["type"].isin(["abstraction", "induction"]) & heads["significant"]]
        assert not part["above_floor"].any()
        below += len(part)
    assert below >= 1


@pytest.mark.slow
def test_the_benchmark_finds_and_stays_quiet(tmp_path: Path) -> None:
    found = benchmark_symbolic(tmp_path, pairs=12)
    rows = found.summary.set_index("method")
    assert rows.loc["exchange", "found"] >= 0.85 * rows.loc["exchange", "carry"]
    assert rows.loc["exchange", "false"] == 0
    assert rows.loc["exchange", "quiet"] == rows.loc["exchange", "without"] == 2 * len(WITHOUT)
    assert rows.loc["exchange without floor", "false"] > 0
    assert found.path.read_text().count("\n") == 1 + 4 * 3 * (1 + len(WITH + WITHOUT))
    assert truth_of(WITH[0])["induction"].max() > 1


@pytest.mark.slow
def test_training_gives_the_circuit_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6, retrained: minutes on one core."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    monkeypatch.setattr(
        sys, "argv", ["symbolic_nets.py", "--net", "bottleneck-3", "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "experiments" / "symbolic_nets.py"), run_name="__main__")
    assert left.value.code == 0
    about = json.loads((tmp_path / "bottleneck-3" / "trained.json").read_text())
    assert about["measured"]["accuracy"] >= 0.99
    assert about["measured"]["steps"] <= 700
    assert about["measured"]["cpu_s"] < 240
