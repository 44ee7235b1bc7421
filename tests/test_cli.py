from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call

from vlbias import cli
from vlbias.errors import BadStudy, BadTable, UnknownName
from vlbias.models import check_adapter as checks
from vlbias.models import load_model

ROOT = Path(__file__).resolve().parents[1]
StudyFile = Callable[..., Path]


def test_run_resume_and_limit(study_file: StudyFile, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = call("run", study_file(), "--out", out, "--limit", 8)
    assert (result.exit_code, result.exception) == (0, None)
    assert "2 cells computed, 0 were there" in result.stdout
    folder = out / "tiny-limit8"
    assert f"next: vlbias report {folder}" in result.stdout
    assert "kept" in result.stderr, "the funnel is printed"
    (lost := next(iter((folder / "cells").glob("*.parquet")))).unlink()
    os.chdir(folder)
    try:
        result = call("resume", ".")
    finally:
        os.chdir(ROOT)
    assert result.exit_code == 0, result.exception
    assert "1 cells computed, 1 were there" in result.stdout
    assert lost.is_file()
    assert [path.name for path in out.iterdir()] == ["tiny-limit8"]
    folder.rename(out / "renamed")
    assert isinstance(call("resume", out / "renamed").exception, BadTable)


def test_a_run_with_failed_cells_ends_with_one(
    study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlbias.studies.arms import work

    add = work._add

    def fails(writer: Any, arm: Any, examples: Any, outcomes: Any) -> None:
        if examples[0].id.endswith("/10"):
            raise RuntimeError("out of memory")
        add(writer, arm, examples, outcomes)

    out = tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr(work, "_add", fails)
        result = call("run", study_file(), "--out", out, "--limit", 24)
    assert result.exit_code == 1
    assert "1 cells failed" in result.stderr
    assert call("run", study_file(), "--out", out, "--limit", 24).exit_code == 0


def test_a_dry_run_tells_the_cost_and_writes_nothing(study_file: StudyFile, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = call("run", study_file(), "--out", out, "--dry-run")
    assert result.exit_code == 0, result.exception
    assert "photos 24, cells 6" in result.stdout
    assert "rows 6,480" in result.stdout
    assert "estimated time" in result.stdout
    assert not out.exists()


def test_a_dry_run_minds_no_manifest_of_others(
    study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    monkeypatch.chdir(tmp_path)
    result = call("run", study_file(), "--out", "runs", "--dry-run")
    assert result.exit_code == 0, result.exception
    assert "estimated time" in result.stdout


def test_check_tells_what_it_found(model_folder: Callable[[str], Path]) -> None:
    result = call("check", model_folder("dinov2-bert"), "--json")
    assert result.exit_code == 0, result.exception
    assert all(finding["passed"] for finding in json.loads(result.stdout))
    assert isinstance(call("check", "no-such-model").exception, UnknownName)


def test_check_tells_every_finding_at_once_and_how_far_it_is() -> None:
    heard: list[Any] = []
    steps: list[tuple[int, int]] = []
    found = checks.check("toy", tell=heard.append, step=lambda *step: steps.append(step))
    assert heard == found
    assert steps == sorted(steps)
    assert len(steps) > len(found)
    assert steps[-1][0] == steps[-1][1]
    result = call("check", "toy")
    assert result.stdout.count("ok ") == len(found)
    assert f"step {steps[-1][1]}/{steps[-1][1]}" in result.stderr


def test_check_ends_with_one_where_a_promise_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlbias.models.toy import Toy

    monkeypatch.setattr(Toy, "gives", frozenset())
    result = call("check", "toy")
    assert result.exit_code == 1
    assert "FAILED readout" in result.stdout


@pytest.mark.integration
@pytest.mark.parametrize("name", ["grounding-dino-dinov2", "owlv2"])
def test_a_detector_is_checked_in_double_precision_and_left_as_it_was(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = load_model(str(model_folder(name)))
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    seen = []
    given = checks.conformance

    def watched(staged: Any, *sides: Any, **heard: Any) -> Any:
        seen.append(next(staged.net.parameters()).dtype)
        return given(staged, *sides, **heard)

    monkeypatch.setattr(checks, "conformance", watched)
    assert all(finding.passed for finding in checks.check(model))
    assert seen == [torch.float64]
    after = model.net.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_list_mediators_of_a_folder(model_folder: Callable[[str], Path]) -> None:
    for name in ("dinov2-bert", "openclip"):
        result = call("list", "mediators", model_folder(name))
        assert result.exit_code == 0, result.exception
        assert "image_encoder/attn.*" in result.stdout
        assert result.stderr == "", "no word about weights that were not asked for"
    assert isinstance(call("list", "mediators").exception, BadStudy)


@pytest.mark.parametrize("what", ["models", "datasets", "outcomes", "prompts"])
def test_lists_name_what_is_registered(what: str) -> None:
    result = call("list", what)
    expected = {"models": "clip-vit-b32", "datasets": "coco", "outcomes": "presence",
                "prompts": "template-neutral"}  # fmt: skip
    assert expected[what] in result.stdout
    assert isinstance(call("list", what[:-2]).exception, UnknownName)


@pytest.mark.parametrize("arguments", [["--help"], ["list", "models"]])
def test_the_command_line_answers_at_once(arguments: list[str]) -> None:
    """Below a second of processor time; the clock may run longer on a busy machine."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = (
        "import resource, sys; from vlbias.cli import main\n"
        "try:\n  main()\n"
        "finally:\n"
        "  used = resource.getrusage(0)\n"
        "  print(used.ru_utime + used.ru_stime, file=sys.stderr)"
    )
    best = float("inf")
    for _ in range(3):
        began = time.monotonic()
        answer = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        clock = time.monotonic() - began
        best = min(best, float(answer.stderr.split()[-1]), clock)
    assert "models" in answer.stdout or "toy" in answer.stdout
    assert best < 1.0


def test_mistakes_end_with_two_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vlbias", "run", str(tmp_path / "absent.toml")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: study field 'file'")
