from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from vlbias import cli
from vlbias.errors import BadData, BadModel, BadStudy, BadTable, UnknownName, VlbiasError
from vlbias.models import contract as checks
from vlbias.models import load_model

ROOT = Path(__file__).resolve().parents[1]
StudyFile = Callable[..., Path]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: Any, **__: Any) -> None:
        pytest.fail("the model was loaded")

    for module in ("vlbias.studies.bias.work", "vlbias.models.contract"):
        monkeypatch.setattr(f"{module}.load_model", loads)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with a run of the same name in it, which must stay as it is."""
    cells = tmp_path / "runs" / "tiny" / "cells"
    cells.mkdir(parents=True)
    (cells / "abc.parquet").write_bytes(b"a day of work")
    (cells.parent / "manifest.json").write_text("{}")
    return tmp_path / "runs"


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the one that says which process was at work."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".working")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def copied(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def first_image(photos: Path) -> Path:
    return min((photos / "images").iterdir())


def without_a_file(photos: Path) -> None:
    first_image(photos).unlink()


def truncated(photos: Path) -> None:
    path = first_image(photos)
    path.write_bytes(path.read_bytes()[:-400])


def other_captions(photos: Path) -> None:
    path = photos / "captions.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"][:5]:
        annotation["image_id"] = 99999
    path.write_text(json.dumps(content))


def no_json(photos: Path) -> None:
    path = photos / "instances.json"
    path.write_text(path.read_text()[:-50])


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("spoil", "value"),
    [
        (without_a_file, "000000000010.jpg"),
        (truncated, "000000000010.jpg"),
        (other_captions, "99999"),
        (no_json, "instances.json"),
    ],
)
def test_bad_photos_and_annotations(
    spoil: Callable[[Path], None],
    value: str,
    study_file: StudyFile,
    photos: Path,
    tmp_path: Path,
    out: Path,
) -> None:
    spoiled = copied(photos, tmp_path)
    spoil(spoiled)
    refused(BadData, value, study_file(photos=spoiled), out)


def refused(
    error: type[VlbiasError], value: str, study: Path, out: Path, *options: str
) -> VlbiasError:
    before = contents(out) if out.is_dir() else {}
    for extra in ((), ("--dry-run",)):
        result = call("run", study, "--out", out, *options, *extra)
        assert isinstance(result.exception, error), result.exception
        assert value in str(result.exception)
        if error is BadTable:
            break  # only a real run writes
    assert (contents(out) if out.is_dir() else {}) == before
    return result.exception


OBJECTS = 'min_group = 2\nobjects = ["person", "{name}"]'
POINT = "min_negatives = 1"


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("change", "error", "value", "suggested"),
    [
        (("min_group = 2", OBJECTS.format(name="umbrela")), UnknownName, "umbrela", "umbrella"),
        (('"text_encoder", ', '"text_encodr", '), UnknownName, "text_encodr", "text_encoder"),
        (("head.*[*]", "heads.*[*]"), UnknownName, "heads", "head"),
        (("head.*[*]", "head.9[0]"), BadStudy, "image_encoder/head.9[0]", None),
        (("head.*[*]", "head.0[7]"), BadStudy, "image_encoder/head.0[7]", None),
        (("head.*[*]", "neuron.0[999]"), BadStudy, "image_encoder/neuron.0[999]", None),
        (("head.*[*]", "head.*[*"), BadStudy, "image_encoder/head.*[*", None),
        ((POINT, "thresholds = {umbrela = 0.5}"), UnknownName, "umbrela", "umbrella"),
        ((POINT, 'rule = "given"\nthresholds = {person = 0.5}'), BadStudy, "bicycle", None),
        ((POINT, "min_captions = 9"), BadData, "'feminine' has 0", None),
        (('splits = ["dev", "test"]', 'groups = ["masculine", "nonbinary"]'),
         BadData, "nonbinary", None),
        (("min_group = 2", "min_group = 13"), BadData, "'feminine' has 12", None),
        (('splits = ["dev", "test"]', 'splits = ["test"]'), BadStudy, "'dev'", None),
        (("min_group = 2", 'min_grup = 2'), BadStudy, "min_grup", "min_group"),
        (('splits = ["dev"', 'split = ["dev"'), BadStudy, "dataset.split", "splits"),
        (("null->both", "null->boht"), BadStudy, "boht", "both"),
        (("min_group = 2", 'prompt = "caption"\nmin_group = 2'), BadStudy, "caption", None),
        (("min_group = 2", 'prompt = "templat"\nmin_group = 2'), UnknownName, "templat", "template"),
        (("min_group = 2", 'outcomes = ["presense"]\nmin_group = 2'),
         UnknownName, "presense", "presence"),
        (('name = "coco"', 'name = "cocoa"'), UnknownName, "cocoa", "coco"),
    ],
)  # fmt: skip
def test_bad_studies(
    change: tuple[str, str],
    error: type[VlbiasError],
    value: str,
    suggested: str | None,
    study_file: StudyFile,
    out: Path,
) -> None:
    problem = refused(error, value, study_file(change), out)
    if suggested is not None:
        assert f"{suggested!r}" in str(problem)


@pytest.mark.usefixtures("no_weights")
def test_a_model_folder_without_weights(
    study_file: StudyFile, model_folder: Callable[[str], Path], tmp_path: Path, out: Path
) -> None:
    for name, weights in (
        ("dinov2-bert", "model.safetensors"),
        ("openclip", "open_clip_model.safetensors"),
    ):
        folder = tmp_path / name
        shutil.copytree(model_folder(name), folder)
        (folder / weights).unlink()
        changes = [("image_encoder/head.*[*]", "image_encoder/mlp.0")] if name == "openclip" else []
        refused(BadModel, str(folder), study_file(*changes, model=folder), out)
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(BadModel, str(empty), study_file(model=empty), out)


def test_a_model_whose_weights_are_cut_off(
    study_file: StudyFile, model_folder: Callable[[str], Path], tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(model_folder("dinov2-bert"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    before = contents(out)
    result = call("run", study_file(model=folder), "--out", out)
    assert isinstance(result.exception, BadModel), result.exception
    assert str(folder) in str(result.exception)
    assert contents(out) == before


@pytest.mark.usefixtures("no_weights")
def test_a_place_that_cannot_be_written(
    study_file: StudyFile, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a file"
    file.write_text("not a folder")
    refused(BadTable, str(file), study_file(), file)
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    refused(BadTable, "free", study_file(), out)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("shard", ["2/2", "a/b", "1", "-1/2"])
def test_bad_shards(study_file: StudyFile, out: Path, shard: str) -> None:
    before = contents(out)
    result = call("run", study_file(), "--out", out, "--shard", shard)
    assert isinstance(result.exception, BadStudy)
    assert contents(out) == before


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
