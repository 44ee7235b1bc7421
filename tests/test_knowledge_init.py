"""`vlbias init` of studies of facts: what is written has nothing wrong with it, and bad facts are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from taught_models import taught_facts, write_facts
from tiny_language import write_language
from typer.testing import CliRunner

from vlbias import cli
from vlbias.errors import BadData, BadStudy
from vlbias.studies import kind_named
from vlbias.studies.check_study import diagnose
from vlbias.studies.lifecycle import load_study, make_plan

KINDS = ("tracing", "editing", "unlearning")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_language("gpt2", tmp_path_factory.mktemp("tiny") / "gpt2"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_that_was_begun_can_be_planned(kind: str, gpt2: str, tmp_path: Path) -> None:
    write_facts(tmp_path / "facts.jsonl", taught_facts())
    out = tmp_path / "begun.toml"
    begun = CliRunner().invoke(
        cli.app,
        ["init", str(tmp_path / "facts.jsonl"), "--model", gpt2, "--out", str(out), "--kind", kind],
    )
    assert begun.exit_code == 0, begun.output
    assert "6 facts of 6 subjects; groups: old: 3, new: 3" in begun.output
    study: Any = load_study(out)
    assert (study.kind, study.facts.path) == (kind, tmp_path / "facts.jsonl")
    assert make_plan(study).n_parts > 0
    assert [one.text for one in diagnose(out) if one.verdict == "wrong"] == []
    for line in out.read_text().splitlines():
        assert "#" in line


@pytest.mark.parametrize("kind", KINDS)
def test_facts_that_come_with_the_package_can_be_named(
    kind: str, gpt2: str, tmp_path: Path
) -> None:
    start: Any = kind_named(kind).start
    start(Path("fact-world"), gpt2, tmp_path / "s.toml")
    study: Any = load_study(tmp_path / "s.toml")
    assert study.facts.name == "fact-world"
    if kind == "unlearning":
        assert (study.forget, study.retain, study.holdout) == ("forget", "retain", "holdout")


def test_what_cannot_be_begun_is_refused_and_nothing_is_written(gpt2: str, tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps({"subject": "nurse", "prompt": "the nurse ran", "answer": "home"}))
    out = tmp_path / "s.toml"
    for kind, message in (("editing", "0 of 1 facts have a target"), ("unlearning", "of 1 groups")):
        with pytest.raises(BadData, match=message):
            kind_named(kind).start(path, gpt2, out)  # type: ignore[misc]
    for kind in KINDS:
        with pytest.raises(BadStudy, match="a causal language model"):
            kind_named(kind).start(path, "planted-dual-text", out)  # type: ignore[misc]
        with pytest.raises(BadData, match="not found"):
            kind_named(kind).start(tmp_path / "none.jsonl", gpt2, out)  # type: ignore[misc]
    assert not out.exists()
