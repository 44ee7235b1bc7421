"""`vlbias init` and `vlbias check` of symbolic mechanisms: what is written runs, what is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_language import write_language

from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.studies.check_study import diagnose
from vlbias.studies.lifecycle import load_study, make_plan, parse_study
from vlbias.studies.symbolic.init import start
from vlbias.studies.symbolic.wired_net import write_wired


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_wired(tmp_path_factory.mktemp("wired") / "net", noise=0.02))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_language("gpt2", tmp_path_factory.mktemp("tiny") / "gpt2"))


def test_nothing_is_wrong_with_a_study_that_was_begun(gpt2: str, tmp_path: Path) -> None:
    out = tmp_path / "rules.toml"
    said = start(Path("letters"), gpt2, out)
    study: Any = load_study(out)
    assert (study.kind, study.items, study.shots, study.separator) == (
        "symbolic",
        "letters",
        4,
        "^",
    )
    assert "52 single tokens" in said.remarks[0]
    assert [r.text for r in diagnose(out) if r.verdict != "ok"] == []
    for line in out.read_text().splitlines():
        assert "#" in line
    assert all(remark in out.read_text() for remark in said.remarks)


def test_a_short_model_gets_as_many_shots_as_it_takes(wired: str, tmp_path: Path) -> None:
    out = tmp_path / "rules.toml"
    start(Path("all"), wired, out)
    study: Any = load_study(out)
    assert (study.shots, study.accuracy_shots, study.probe_shots) == (3, (1, 2), ())
    assert make_plan(study).n_parts > 0


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [("all the words", UnknownName, "letters"), ("nonsense", BadStudy, "has 0 of")],
)
def test_what_cannot_be_begun(
    wired: str, items: str, error: Any, message: str, tmp_path: Path
) -> None:
    out = tmp_path / "rules.toml"
    with pytest.raises(error, match=message):
        start(Path(items), wired, out)
    assert not out.exists()


def test_other_models_and_files_that_are_there(gpt2: str, tmp_path: Path) -> None:
    for model in ("planted-dual-text", str(write_language("bert", tmp_path / "bert"))):
        with pytest.raises(BadStudy, match="a causal language model"):
            start(Path("all"), model, tmp_path / "rules.toml")
    out = tmp_path / "there.toml"
    out.write_text("")
    with pytest.raises(BadData, match="is there already"):
        start(Path("all"), gpt2, out)


def written(folder: Path, model: str, **changes: Any) -> Path:
    lines = {"kind": "symbolic", "name": "rules", "model": model, "shots": 3, "accuracy_shots": [2]}
    path = folder / "study.toml"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in {**lines, **changes}.items()))
    return path


@pytest.mark.parametrize(
    ("changes", "about", "verdict", "text"),
    [
        ({}, "items", "ok", "single tokens fit 'all'; a prompt has 22 tokens"),
        ({"items": "nonsense"}, "items", "wrong", "has 0 of"),
        ({"separator": "~"}, "items", "wrong", "choose a separator other than"),
        ({"pairs": 3}, "pairs", "note", "1/8"),
        ({"accuracy_shots": []}, "accuracy_shots", "note", "selected"),
        ({"map_pairs": 0}, "map_pairs", "note", "passes elsewhere"),
        ({"shots": 4}, "whole", "wrong", "3 or fewer: so many examples are 28 tokens"),
        ({"accuracy_shots": [9]}, "whole", "wrong", "accuracy_shots"),
    ],
)
def test_what_check_says(
    wired: str, changes: dict[str, Any], about: str, verdict: str, text: str, tmp_path: Path
) -> None:
    said = [r for r in diagnose(written(tmp_path, wired, **changes)) if r.about == about]
    assert any(r.verdict == verdict and text in r.text for r in said), said


def test_check_of_a_model_that_cannot_be_asked(tmp_path: Path) -> None:
    remarks = list(diagnose(written(tmp_path, "planted-dual-text")))
    assert ("items", "wrong") in {(r.about, r.verdict) for r in remarks}


def test_long_prompts_are_refused_before_a_weight_is_loaded(wired: str) -> None:
    content = {"kind": "symbolic", "name": "x", "model": wired, "shots": 3, "accuracy_shots": []}
    with pytest.raises(BadStudy, match=r"probe_shots.*3 or fewer"):
        make_plan(parse_study({**content, "probe_shots": [8]}))
    make_plan(parse_study({**content, "probe_shots": [8], "probe_prompts": 0}))
