"""Input that cannot be: refused by name before a weight is loaded, and nothing on disk is touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import call, contents

from vlbias.errors import BadData, BadModel, BadStudy, BadTable, UnknownName, VlbiasError

StudyFile = Callable[..., Path]


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: Any, **__: Any) -> None:
        pytest.fail("the model was loaded")

    for module in ("vlbias.studies.photos.asked_model", "vlbias.models.check_adapter"):
        monkeypatch.setattr(f"{module}.load_model", loads)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with a run of the same name in it, which must stay as it is."""
    cells = tmp_path / "runs" / "tiny" / "cells"
    cells.mkdir(parents=True)
    (cells / "abc.parquet").write_bytes(b"a day of work")
    (cells.parent / "manifest.json").write_text("{}")
    return tmp_path / "runs"


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
    study_file: StudyFile, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, out = tmp_path / "cut", tmp_path / "new"
    shutil.copytree(model_folder("dinov2-bert"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    result = call("run", study_file(model=folder), "--out", out)
    assert isinstance(result.exception, BadModel), result.exception
    assert str(folder) in str(result.exception)
    assert contents(out) == {}


def test_a_folder_with_a_foreign_manifest_is_left_alone(study_file: StudyFile, out: Path) -> None:
    before = contents(out)
    result = call("run", study_file(), "--out", out)
    assert isinstance(result.exception, BadTable), result.exception
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
