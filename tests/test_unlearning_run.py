"""Runs of unlearning: whole, resumed, reported; its numbers against hand-made ones; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from taught_models import taught_facts, write_facts, write_taught

from vlbias.errors import BadData, BadStudy, NothingSolved
from vlbias.models import load_model
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.reporting import report
from vlbias.studies.unlearning.evaluation import Evaluation, harmonic_of_two, task_score
from vlbias.studies.unlearning.numbers import numbers
from vlbias.studies.unlearning.work import Work

METHODS = [
    {"label": "joint", "sites": ["lm/mlp.0", "lm/mlp.1"], "options": {"steps": 20, "batch": 4, "rate": 0.01}},
    {
        "label": "ascent", "sites": ["lm/mlp.2"], "loss": "ascent",
        "options": {"steps": 20, "batch": 4, "rate": 0.01},
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_taught("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def study(taught: Path, tmp_path: Path) -> Callable[..., Any]:
    facts = write_facts(tmp_path / "facts.jsonl", taught_facts())

    def made(**changes: Any) -> Any:
        content = {
            "kind": "unlearning", "name": "forget", "model": str(taught), "facts": {"path": str(facts)},
            "forget": "new", "retain": "old", "methods": METHODS, "relearn": 3, "level": 0.4,
        }  # fmt: skip
        return lifecycle.parse_study({**content, **changes})

    return made


def test_a_run_its_page_and_its_resumption(study: Callable[..., Any], tmp_path: Path) -> None:
    first = lifecycle.run(study(), tmp_path / "a")
    assert not first.failed
    before = numbers(Run(first.folder))
    rows = before.conditions.set_index("label")
    assert rows.loc["before", ["forget", "retain"]].tolist() == [1.0, 1.0]
    assert rows.loc["ascent", "reached"]
    assert rows.loc["ascent", "forget"] < 0.7
    assert set(before.blocks["site"]) == {
        "lm/mlp.0",
        "lm/mlp.1",
    }  # one block is all of the other method
    page = report(first.folder).html.read_text()
    for said in ("of the facts to forget and", "Trade-off", "Which block carries the forgetting"):
        assert said in page
    cells = sorted((first.folder / "cells").glob("*.json"))
    for path in cells[::2]:
        path.unlink()
    lifecycle.run(study(), tmp_path / "a")
    for name, frame in vars(numbers(Run(first.folder))).items():
        drop = [c for c in ("seconds",) if c in frame]
        pd.testing.assert_frame_equal(
            frame.drop(columns=drop), getattr(before, name).drop(columns=drop), obj=name
        )


def test_training_that_was_killed_ends_with_the_same_numbers(
    study: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: Any = Work(lifecycle.make_plan(study()), tmp_path / "w")
    part = next(cell.part for cell in work.cells if cell.part.label == "joint")
    part = replace(
        part, method=part.method.model_copy(update={"options": {**part.method.options, "check": 4}})
    )
    whole = work.trained(part, tmp_path / "whole.pt")
    evaluation, asked = type(work.evaluation), []
    original = evaluation.forgotten

    def stop(self: Any, model: Any, level: float) -> bool:
        asked.append(level)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return bool(original(self, model, level))

    monkeypatch.setattr(evaluation, "forgotten", stop)
    if whole.notes["steps"] > 4:
        with pytest.raises(KeyboardInterrupt):
            work.trained(part, tmp_path / "broken.pt")
        monkeypatch.setattr(evaluation, "forgotten", original)
        assert work.trained(part, tmp_path / "broken.pt").key == whole.key


def test_the_score_is_that_of_the_task() -> None:
    # published: aggregate 0.973, utility 0.24, membership term 0.741 give 0.652 (Agrawal and Huang 2025)
    assert task_score(0.973, 0.24, 0.5 + (1 - 0.741) / 2) == pytest.approx(0.6513, abs=1e-3)
    assert task_score(0.5, None, 0.1) == pytest.approx((0.5 + 0.2) / 2)
    assert harmonic_of_two(1.0, 0.5) == pytest.approx(2 / 3)


def test_membership_and_divergence_are_what_they_are_by_hand(taught: Path) -> None:
    model: Any = load_model(str(taught))
    facts = taught_facts()
    strange = tuple(replace(f, id=f"x{f.id}", answer="went", target="") for f in facts[:3])
    members = tuple(facts[3:])
    ids = [model.tokens(fact.prompt) for fact in members]
    other = model.next_token_logits(ids).roll(1, 0).log_softmax(1)
    evaluation = Evaluation(members, tuple(facts[:3]), strange, (), 0, other)
    found = evaluation.of(model)
    assert found["membership_auc"] == 1.0  # what was learned is likelier than what was not
    assert (found["utility"], found["relearned"]) == (None, None)
    said = model.next_token_logits(ids).log_softmax(1)
    by_hand = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=other), torch.distributions.Categorical(logits=said)
    )
    assert found["divergence"] == pytest.approx(float(by_hand.mean()), rel=1e-4)
    assert Evaluation(members, members, (), (), 0, said).of(model)["divergence"] == pytest.approx(
        0.0, abs=1e-6
    )


def test_relearning_leaves_the_model_as_it_is(taught: Path) -> None:
    model: Any = load_model(str(taught))
    before = {name: p.detach().clone() for name, p in model.net.named_parameters()}
    found = Evaluation(tuple(taught_facts()), tuple(taught_facts()[:1]), (), (), 2, None).of(model)
    assert 0 <= found["relearned"] <= 1
    assert all(torch.equal(before[name], p) for name, p in model.net.named_parameters())


def test_what_cannot_be_unlearned_is_refused(
    study: Callable[..., Any], language_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(BadStudy, match="groups that differ"):
        study(retain="new")
    with pytest.raises(BadStudy, match="never trained on"):
        study(methods=[{"label": "x", "sites": ["lm/mlp.0"], "loss": "hinge"}])
    with pytest.raises(BadStudy, match="one of 'new', 'old'"):
        lifecycle.make_plan(study(forget="newer"))
    bad = [{"label": "x", "sites": ["lm/mlp.0"], "options": {"stps": 3}}]
    with pytest.raises(BadStudy, match=r"methods\.0\.options\.stps"):
        lifecycle.make_plan(study(methods=bad))
    with pytest.raises(BadStudy, match="a layer from 0 to 2"):
        lifecycle.make_plan(study(methods=[{"label": "x", "sites": ["lm/mlp.9"]}]))
    with pytest.raises(NothingSolved, match="nothing to take out"):
        Work(lifecycle.make_plan(study(model=str(language_folder("gpt2")))), tmp_path / "none")
    facts = taught_facts()
    both = [facts[1], replace(facts[1], id="again", group="old")]
    path = write_facts(tmp_path / "both.jsonl", both)
    with pytest.raises(BadData, match="to be forgotten and to be retained: those of f1 and again"):
        lifecycle.make_plan(study(facts={"path": str(path)}))
    assert np.isfinite(harmonic_of_two(0.0, 1.0))
