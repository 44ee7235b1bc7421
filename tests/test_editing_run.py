"""Runs of editing: whole, killed between edits and resumed, reported; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from taught_models import taught_facts, write_facts, write_taught

from vlbias.errors import BadData, BadStudy, NothingSolved, UnknownName
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.editing.asking import harmonic
from vlbias.studies.editing.lifelong import Lifelong
from vlbias.studies.editing.numbers import numbers
from vlbias.studies.editing.plan import EditSequence
from vlbias.studies.editing.work import Work
from vlbias.studies.reporting import report

METHODS = [
    {"label": "wilke", "options": {"sites": ["lm/mlp.*"], "rule": "smallest-cost", "ridge": 0.1}},
    {
        "label": "memit",
        "name": "memit",
        "options": {"sites": ["lm/mlp.0", "lm/mlp.1"], "weight": 0.1},
        "search": {"steps": 10, "reach": 4.0},
    },
]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_taught("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def study(taught: Path, tmp_path: Path) -> Callable[..., Any]:
    facts = write_facts(tmp_path / "facts.jsonl", taught_facts())

    def made(**changes: Any) -> Any:
        content = {
            "kind": "editing", "name": "edits", "model": str(taught), "facts": {"path": str(facts)},
            "edits": 3, "probes": 3, "protocols": ["sequence", "roll-back"], "methods": METHODS, "prefixes": 2,
        }  # fmt: skip
        return lifecycle.parse_study({**content, **changes})

    return made


def test_a_run_and_its_page(study: Callable[..., Any], tmp_path: Path) -> None:
    done = lifecycle.run(study(), tmp_path / "a")
    assert not done.failed
    tables = numbers(Run(done.folder))
    assert len(tables.edits) == 4 * 3
    assert tables.checkpoints["edits"].unique().tolist() == [1, 2, 3]
    # a shift is predicted from keys that one edit of one layer does not touch
    single = tables.edits[tables.edits["label"] == "wilke"]
    assert np.allclose(single["predicted_shift"], single["measured_shift"], rtol=1e-3)
    assert (single["predicted_shift"] > 0).all()
    assert tables.edits[tables.edits["label"] == "memit"]["predicted_shift"].isna().all()
    assert (tables.methods["drift"] > 0).all()
    assert (tables.methods[["utility"]].isna()).all().all()  # none was given
    page = report(done.folder).html.read_text()
    for said in ("after 3 edits the score S is", "Cost of each edit", "Interference"):
        assert said in page
    again = lifecycle.run(study(), tmp_path / "a")
    assert again.done == 0


def test_edits_that_were_broken_off_end_as_if_they_were_not(
    study: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = lifecycle.make_plan(study(protocols=["roll-back"], methods=METHODS[:1]))
    work: Any = Work(plan, tmp_path / "whole")
    start = {name: p.detach().clone() for name, p in work.model.net.named_parameters()}
    part = work.cells[0].part

    def lifelong(name: str) -> Lifelong:
        state = tmp_path / f"{name}.pt"
        return Lifelong(*(work.model, part, work.before, work.context, (1, 3), 0, state))

    whole = lifelong("whole").run()

    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lifelong("broken").run(stop)
    assert all(torch.equal(start[n], p) for n, p in work.model.net.named_parameters())
    assert (tmp_path / "broken.pt").is_file()
    rest = lifelong("broken").run()
    assert not (tmp_path / "broken.pt").is_file()
    for one, other in ((whole["edits"], rest["edits"]), (whole["checks"], rest["checks"])):
        frames = [
            pd.DataFrame(rows).drop(columns="seconds", errors="ignore") for rows in (one, other)
        ]
        pd.testing.assert_frame_equal(*frames)
    (tmp_path / "bad.pt").write_bytes(b"no")
    with pytest.raises(BadData, match="delete the file"):
        lifelong("bad").run()


def test_flashes_are_told_from_those_before_and_pairs_are_tested() -> None:
    from vlbias.studies.editing.numbers import _differences, _edits

    costs = [1.0, 1.2, 0.9, 1.1, 1.0, 30.0, 1.0]
    rows = [{"number": n + 1, "cost": cost} for n, cost in enumerate(costs)]
    frame = _edits({"label": "a", "protocol": "sequence", "edits": rows})
    assert frame["flash"].tolist() == [False] * 5 + [True, False]
    probes = {"a": [True] * 12, "b": [False] * 10 + [True] * 2}
    checks = pd.DataFrame(
        [{"label": k, "protocol": "sequence", "edits": 4, "probes": v} for k, v in probes.items()]
    )
    found = _differences(checks).iloc[0]
    assert (found["first_only"], found["second_only"]) == (10, 0)
    assert found["p"] == pytest.approx(2 * 0.5**10)


def test_the_score_is_a_harmonic_mean_with_a_floor() -> None:
    assert harmonic([0.5, 1.0]) == pytest.approx(2 / 3)
    assert harmonic([0.0, 1.0]) == pytest.approx(2 / (1e4 + 1))
    # published means of three runs (Hu et al. 2024, their logs): the mean of S is a little below S of means
    for five, score in (
        ([0.159, 0.088, 0.068, 0.122, 0.080], 0.093),
        ([0.926, 0.552, 0.350, 0.066, 0.067], 0.133),
        ([0.707, 0.511, 0.127, 0.161, 0.132], 0.194),
    ):
        assert score <= harmonic(five) <= 1.06 * score


def test_what_cannot_be_edited_is_refused(
    study: Callable[..., Any], language_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    def with_options(**options: Any) -> Any:
        return study(methods=[{"label": "x", "options": options}])

    with pytest.raises(BadStudy, match=r"methods\.0\.options\.sites.*a layer from 0 to 2"):
        lifecycle.make_plan(with_options(sites=["lm/mlp.9"]))
    with pytest.raises(BadStudy, match="one of the settings"):
        lifecycle.make_plan(with_options(sites=["lm/mlp.0"], rigde=0.1))
    with pytest.raises(BadStudy, match="smallest-cost"):
        lifecycle.make_plan(with_options(sites=["lm/mlp.0"], rule="smallest"))
    with pytest.raises(BadStudy, match="this key is required"):
        lifecycle.make_plan(with_options())
    with pytest.raises(UnknownName, match="mlp"):
        lifecycle.make_plan(with_options(sites=["lm/mpl.0"]))
    with pytest.raises(BadStudy, match="fewer than the 6 facts"):
        lifecycle.make_plan(study(edits=6))
    with pytest.raises(BadStudy, match="labels that differ"):
        study(methods=[METHODS[0], {**METHODS[0], "name": "rank-one", "search": {"steps": 3}}])
    bare = [f for f in taught_facts()]
    path = write_facts(tmp_path / "bare.jsonl", bare)
    path.write_text(path.read_text().replace('"target": "happy"', '"target": ""'))
    with pytest.raises(BadData, match="facts have no target"):
        lifecycle.make_plan(study(facts={"path": str(path)}))
    with pytest.raises(NothingSolved, match="too few to edit 3"):
        Work(lifecycle.make_plan(study(model=str(language_folder("llama")))), tmp_path / "none")
    assert len(EditSequence(study().methods[0], "sequence", 3)) == 3
