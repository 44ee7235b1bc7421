"""`vlbias init` and `vlbias check` of comprehension: what is written can be run, what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_language import write_language
from tiny_photos import write_photos

from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.studies.check_study import diagnose
from vlbias.studies.comprehension.init import start
from vlbias.studies.lifecycle import load_study

VISION = "planted-dual-unbiased"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_language("gpt2", tmp_path_factory.mktemp("tiny") / "gpt2"))


def own(path: Path, **changes: Any) -> Path:
    lines = [
        {
            "id": str(n), "original": f"Is {n} odd?", "deep": [f"Is {n} even?"],
            "surface": [f"Was {n} odd?"], "answer": "yes", "choices": ["yes", "no"], **changes,
        }
        for n in range(31)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.integration
@pytest.mark.parametrize(
    "task", ["multiplication", "unscrambling", "entailment", "scene-objects", "scene-text-cues"]
)
def test_tasks_made_by_seed(gpt2: str, task: str, tmp_path: Path) -> None:
    out = tmp_path / "study.toml"
    said = start(Path(task), VISION if task.startswith("scene") else gpt2, out)
    study: Any = load_study(out)
    assert (study.kind, study.task) == ("comprehension", task)
    assert [r.text for r in diagnose(out) if r.verdict != "ok"] == []
    assert all("#" in line for line in out.read_text().splitlines())
    assert all(remark in out.read_text() for remark in said.remarks)


@pytest.mark.parametrize(("choices", "answers"), [(["yes", "no"], "scored"), ([], "written")])
def test_own_items(gpt2: str, choices: list[str], answers: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = own(tmp_path / "data" / "my items.jsonl", choices=choices)
    out = tmp_path / "study.toml"
    start(path, gpt2, out)
    study: Any = load_study(out)
    assert (study.task, study.answers) == ("own", answers)
    assert 'path = "data/my items.jsonl"' in out.read_text()
    assert [r.text for r in diagnose(out) if r.verdict != "ok"] == []


def test_photos(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 60)
    out = tmp_path / "study.toml"
    start(tmp_path / "photos", VISION, out)
    study: Any = load_study(out)
    assert study.task == "photo-objects"
    said = {r.verdict: r.text for r in diagnose(out)}
    assert "wrong" not in said
    assert "no object but persons" in said["note"]


def test_what_cannot_be_begun(gpt2: str, tmp_path: Path) -> None:
    out = tmp_path / "study.toml"
    bad = own(tmp_path / "bad.jsonl", answer="perhaps")
    (tmp_path / "photos").mkdir()
    for data, model, error, message in (
        ("division", gpt2, UnknownName, "multiplication"),
        ("entailment", VISION, BadStudy, "a language model"),
        ("scene-objects", gpt2, BadStudy, "scores classes"),
        (tmp_path / "photos", gpt2, BadStudy, "scores classes"),
        (bad, gpt2, BadData, "not among the choices"),
    ):
        with pytest.raises(error, match=message):
            start(Path(data), model, out)
        assert not out.exists()


def written(folder: Path, lines: dict[str, Any]) -> Path:
    content = {"kind": "comprehension", "name": "study", **lines}
    path = folder / "study.toml"
    text = [f"{k} = {v!r}" for k, v in content.items() if not isinstance(v, dict)]
    for name, table in content.items():
        if isinstance(table, dict):
            text += [f"[{name}]", *(f"{k} = {v!r}" for k, v in table.items())]
    path.write_text("\n".join(text))
    return path


def test_what_check_says_of_items(gpt2: str, tmp_path: Path) -> None:
    few = written(tmp_path, {"model": gpt2, "task": "entailment", "count": 5})
    assert any("5 clusters: limits" in r.text for r in diagnose(few) if r.verdict == "note")
    path = own(tmp_path / "items.jsonl", surface=["Was it odd, if you please?"])
    unequal = written(tmp_path, {"model": gpt2, "task": "own", "path": str(path)})
    assert any("may be due to size" in r.text for r in diagnose(unequal) if r.verdict == "note")
    path = own(tmp_path / "items.jsonl", deep=["Is 3 odd?"])
    same = written(tmp_path, {"model": gpt2, "task": "own", "path": str(path)})
    assert any("equals the original" in r.text for r in diagnose(same) if r.verdict == "wrong")


def test_what_check_says_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {
        "model": "some/model", "task": "entailment", "answers": "written",
        "endpoint": {"base_url": "http://localhost:9/v1", "key_variable": "VLBIAS_NO_SUCH_KEY"},
    }  # fmt: skip
    said = [r for r in diagnose(written(tmp_path, lines)) if r.about == "endpoint"]
    assert [r.verdict for r in said] == ["note"]
    monkeypatch.setenv("VLBIAS_NO_SUCH_KEY", "x")
    assert not [r for r in diagnose(written(tmp_path, lines)) if r.verdict != "ok"]
