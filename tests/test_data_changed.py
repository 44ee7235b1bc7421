"""Bytes of photos and content of every file that a study names: a run does not go on with others."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from data_layouts import write_photo

from vlbias.data import read_text_dataset
from vlbias.errors import BadData, BadStudy
from vlbias.runs.data_files import about_files, keyed_data, refuse_changed
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.photos.run_files import keyed_study

pytestmark = pytest.mark.integration

OLD = Path(__file__).parent / "old_runs"
SMALL = (
    ('mediators = ["image_encoder", "text_encoder", "image_encoder/head.*[*]", "text_encoder/mlp.*"]',
     "mediators = []"),
    ("shard_size = 4", "shard_size = 12"),
)  # fmt: skip
StudyFile = Callable[..., Path]


@pytest.fixture
def mine(photos: Path, tmp_path: Path) -> Path:
    """A copy of the tiny photos, with boxes of a region."""
    folder = Path(shutil.copytree(photos, tmp_path / "mine"))
    write_boxes(folder, 20)
    return folder


def write_boxes(folder: Path, right: int) -> None:
    numbers = [
        image["id"] for image in json.loads((folder / "instances.json").read_text())["images"]
    ]
    names = [f"coco-mine/{number}" for number in numbers]
    (folder / "own.json").write_text(json.dumps({name: [[2, 2, right, 30]] for name in names}))


def replace_photo(folder: Path, which: int) -> str:
    path = sorted((folder / "images").iterdir())[which]
    write_photo(path, (64, 48), 1000 + which)
    return path.name


def test_photos_replaced_under_their_names_are_refused_by_name(
    tmp_path: Path, study_file: StudyFile, mine: Path
) -> None:
    study = study_file(*SMALL, photos=mine)
    result = lifecycle.run(study, tmp_path)
    assert (result.done, Run(result.folder).manifest["data"]["files"]["number"]) == (2, 24)
    names = [replace_photo(mine, which) for which in range(6)]
    # finished, or with a cell to do: neither goes on
    for lost in (None, next((result.folder / "cells").glob("*.parquet"))):
        if lost:
            lost.unlink()
        with pytest.raises(BadData, match=r"data changed since this run began") as refused:
            lifecycle.run(study, tmp_path)
        assert [name in str(refused.value) for name in names] == [True] * 5 + [False]
        assert "6 of 24" in str(refused.value)


def test_a_moved_folder_goes_on_only_with_the_same_photos(
    tmp_path: Path, study_file: StudyFile, mine: Path
) -> None:
    folder = lifecycle.run(study_file(*SMALL, photos=mine), tmp_path).folder
    before = Run(folder).manifest["cells"]
    moved = Path(shutil.copytree(mine, tmp_path / "moved" / "mine"))
    assert lifecycle.run(study_file(*SMALL, photos=moved), tmp_path).skipped == 2
    assert Run(folder).manifest["cells"] == before
    name = replace_photo(moved, 3)
    with pytest.raises(BadData, match=name):
        lifecycle.run(study_file(*SMALL, photos=moved), tmp_path)
    # in a folder of its own the same study has other keys
    other = lifecycle.run(study_file(*SMALL, photos=moved), tmp_path / "other").folder
    assert not set(Run(other).manifest["cells"]) & set(before)


def test_a_changed_regions_file_is_refused_by_name(
    tmp_path: Path, study_file: StudyFile, mine: Path
) -> None:
    regions = ("[operating_point]", f'[regions]\nown = "{mine}/own.json"\n\n[operating_point]')
    study = study_file(*SMALL, regions, photos=mine)
    folder = lifecycle.run(study, tmp_path).folder
    assert Run(folder).manifest["data"]["files"]["number"] == 25
    keys = Run(folder).manifest["cells"]
    moved = Path(shutil.copytree(mine, tmp_path / "moved" / "mine"))
    there = ("[operating_point]", f'[regions]\nown = "{moved}/own.json"\n\n[operating_point]')
    assert lifecycle.run(study_file(*SMALL, there, photos=moved), tmp_path).skipped == 2
    assert Run(folder).manifest["cells"] == keys, "keys hang on where the folder lies"
    study = study_file(*SMALL, regions, photos=mine)
    write_boxes(mine, 21)
    with pytest.raises(BadData, match=r"regions\.own"):
        lifecycle.run(study, tmp_path)


def test_the_files_of_texts_are_listed(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    row = {"worlds": {"null": "a", "other": "b"}, "candidates": ["x", "y"]}
    own.write_text(json.dumps({"id": "1", **row}))
    before = read_text_dataset("texts", own, {}).files
    own.write_text(json.dumps({"id": "1", "group": "g", **row}))
    after = read_text_dataset("texts", own, {}).files
    assert list(before) == list(after) == ["dataset.path"]
    assert before != after
    assert len(read_text_dataset("winogender", None, {}).files) == 2


def test_folders_of_version_0_1_0_keep_their_keys(tmp_path: Path) -> None:
    with zipfile.ZipFile(OLD / "photos.zip") as archive:
        archive.extractall(tmp_path)
    old, new, files = tmp_path / "run", tmp_path / "new", {"a.jpg": "0"}
    assert keyed_data(old, "rows", files) == "rows"
    assert about_files(old, files) == {}
    refuse_changed(old, files)
    assert keyed_data(new, "rows", files) != keyed_data(new, "rows", {"a.jpg": "1"})
    assert about_files(new, files)["files"]["number"] == 1
    keyed = {"prompt": "template", "regions": {"own": "/a/own.json", "face": "opencv"}}
    assert keyed_study(old, keyed) == keyed
    assert keyed_study(new, keyed)["regions"] == {"own": "file", "face": "opencv"}


def test_fewer_photos_are_another_study(tmp_path: Path, study_file: StudyFile, mine: Path) -> None:
    lifecycle.run(study_file(*SMALL, photos=mine), tmp_path)
    limit = ('splits = ["dev", "test"]', 'splits = ["dev", "test"]\nlimit = 20')
    with pytest.raises(BadStudy, match="another study"):
        lifecycle.run(study_file(*SMALL, limit, photos=mine), tmp_path)
