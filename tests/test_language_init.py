"""A study of texts that is begun for somebody: it can be run as it was written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_language import write_language

from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.store.run_folder import Run
from vlbias.studies import KINDS
from vlbias.studies.check_study import diagnose
from vlbias.studies.language.init import start
from vlbias.studies.language.study import Study
from vlbias.studies.lifecycle import load_study, make_plan, read_study, run_plan


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_language("gpt2", tmp_path_factory.mktemp("model") / "gpt2"))


def begun(data: str | Path, model: str, out: Path) -> Study:
    start(Path(data), model, out)
    study = load_study(out)
    assert isinstance(study, Study)
    return study


def write_texts(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def own_rows(count: int, *, span: bool, candidates: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for number, word in enumerate(["nurse", "doctor", "teacher"][:count]):
        worlds = {"null": f"The {word} said that", "other": "The man said that"}
        row = {"id": str(number), "worlds": worlds, "candidates": list(candidates)}
        rows.append({**row, "span": {"null": word, "other": "man"}} if span else row)
    return rows


@pytest.mark.parametrize(
    ("data", "contrasts", "groups"),
    [
        ("professions", {"set-gender", "man", "woman", "person"}, {"masculine", "feminine"}),
        ("names", {"swap-gender", "neutral", "person"}, {"masculine", "feminine"}),
        ("winobias", {"swap-gender"}, None),
        ("winogender", {"swap-gender"}, None),
        ("texts", {"other"}, {"age", "income", "dwelling", "training"}),
    ],
)
def test_nothing_is_wrong_with_a_study_that_was_begun(
    data: str, contrasts: set[str], groups: set[str] | None, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "study.toml"
    study = begun(data, model, out)
    assert set(study.contrasts) == {f"null->{world}" for world in contrasts} | {"null->null"}
    assert study.mediators == ("lm/embed@word", "lm/attn.*", "lm/mlp.*@word")
    assert study.dataset.name == data
    assert study.dataset.path is None
    if groups is not None:
        assert set(study.dataset.groups) == groups
    remarks = list(diagnose(out))
    assert [r.text for r in remarks if r.verdict != "ok"] == []
    assert remarks[-1].about == "whole"


def test_every_line_of_the_study_says_what_it_is_for(model: str, tmp_path: Path) -> None:
    out = tmp_path / "study.toml"
    said = start(Path("professions"), model, out)
    assert (said.path, said.name) == (out, "study")
    for line in out.read_text().splitlines():
        assert "#" in line or line in ("", "]", "[dataset]", "contrasts = [", "mediators = [")
    assert all(remark in out.read_text() for remark in said.remarks)
    assert "neutral" in out.read_text()  # said, though it is not among the groups


@pytest.mark.integration
def test_own_texts_run_from_anywhere(model: str, tmp_path: Path) -> None:
    rows = own_rows(3, span=True, candidates=["he", "she", "they"])
    data = write_texts(tmp_path / "data" / "own words.jsonl", rows)
    (tmp_path / "studies").mkdir()
    out = tmp_path / "studies" / "own.toml"
    study = begun(data, model, out)
    assert 'path = "../data/own words.jsonl"' in out.read_text()
    assert study.dataset.options == {"classes": ["anti", "stereo", "candidate3"]}
    assert Path(study.model).resolve() == Path(model).resolve()
    assert [r.text for r in diagnose(out) if r.verdict != "ok"] == []
    result = run_plan(make_plan(read_study(out)), tmp_path)
    assert result.failed == ()
    run = Run(result.folder)
    assert set(run.manifest["targets"]) == {"anti", "candidate3"}
    assert set(run.manifest["contrasts"]) == {"null->other", "null->null"}


def test_without_named_words_mediators_are_at_every_token(model: str, tmp_path: Path) -> None:
    rows = own_rows(2, span=False, candidates=["he", "she"])
    data, out = write_texts(tmp_path / "texts.jsonl", rows), tmp_path / "study.toml"
    study = begun(data, model, out)
    assert study.mediators == ("lm/embed", "lm/attn.*", "lm/mlp.*")
    assert study.dataset.options == {}
    assert "span" in out.read_text()
    assert [r.text for r in diagnose(out) if r.verdict != "ok"] == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my texts (new).toml", "my-texts-new"),
        ("[draft] é.toml", "draft"),
        ("_hidden.toml", "hidden"),
        ("ääh.toml", "h"),
        ("ö.toml", "study"),
        ("v1.0_b-c.toml", "v1.0_b-c"),
    ],
)
def test_every_file_name_gives_a_valid_study_name(
    file: str, name: str, model: str, tmp_path: Path
) -> None:
    assert begun("winobias", model, tmp_path / file).name == name


def test_a_file_that_is_there_is_kept(model: str, tmp_path: Path) -> None:
    out = tmp_path / "study.toml"
    out.write_text("mine")
    with pytest.raises(BadData, match="there already"):
        start(Path("professions"), model, out)
    assert out.read_text() == "mine"


def test_what_cannot_be_begun_is_said(model: str, tmp_path: Path) -> None:
    out = tmp_path / "study.toml"
    with pytest.raises(UnknownName, match="professions"):
        start(Path("profesions"), model, out)
    with pytest.raises(BadData, match="is a folder"):
        start(tmp_path, model, out)
    with pytest.raises(BadData, match="no folder"):
        start(Path("names"), model, tmp_path / "nowhere" / "study.toml")
    with pytest.raises(BadStudy, match="a language model"):
        start(Path("names"), "toy", out)
    rows = own_rows(2, span=False, candidates=["he", "she"])
    for key, value, match in (
        ("worlds", {"null": "The man said that"}, "another one"),
        ("worlds", {"a": "The man said that", "b": "The nurse said that"}, "'null'"),
        ("split", "train", "train"),
        ("candidates", ["he"], "line 1.*two or more"),
    ):
        data = write_texts(tmp_path / "texts.jsonl", [{**rows[0], key: value}])
        with pytest.raises(BadData, match=match):
            start(data, model, out)
    assert not out.exists()


def test_the_kind_can_be_begun() -> None:
    assert KINDS["language"].start is start
