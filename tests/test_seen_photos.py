"""Photos that were opened before are known by size, inode and times; whatever replaced them is opened."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from data_layouts import coco_content, write_coco, write_photo

from vlbias import files
from vlbias.causal.image_file import frame_of
from vlbias.data import photo_files
from vlbias.data.coco import read_coco
from vlbias.data.photo_files import verify_images
from vlbias.data.table import Dataset
from vlbias.errors import BadData
from vlbias.files import hash_of_file
from vlbias.studies.photos import photo_hashes
from vlbias.studies.photos.photo_hashes import PhotoHashes


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Six photos that count as many, and as old."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(photo_files, "FEW", 2)
    monkeypatch.setattr(photo_hashes, "FEW", 2)
    monkeypatch.setattr(files, "_YOUNG", 0)
    return read_coco(write_coco(tmp_path / "coco", *coco_content()))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photos that are opened from now on."""
    found: list[str] = []
    before = photo_files.open_image

    def noted(path: Path) -> object:
        found.append(path.name)
        return before(path)

    monkeypatch.setattr(photo_files, "open_image", noted)
    return found


def paths(dataset: Dataset) -> list[Path]:
    return [dataset.image_root / name for name in dataset.frame["image"]]


def test_photos_that_did_not_change_are_opened_once(dataset: Dataset, opened: list[str]) -> None:
    first = verify_images(dataset)
    assert first == {path.name: hash_of_file(path) for path in paths(dataset)}
    assert sorted(opened) == sorted(first)
    opened.clear()
    assert verify_images(dataset) == first
    assert opened == []


def written_over(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def copied_over(path: Path, other: Path) -> None:
    shutil.copy2(other, path)


def moved_over(path: Path, other: Path) -> None:
    os.replace(other, path)


@pytest.mark.parametrize("replace", [written_over, copied_over, moved_over])
def test_bytes_of_the_same_size_and_date_are_noticed(
    dataset: Dataset, opened: list[str], tmp_path: Path, replace: Callable[[Path, Path], None]
) -> None:
    path, other = paths(dataset)[1], tmp_path / "other.jpg"
    write_photo(other, (64, 48), 77)
    for one in (path, other):  # a decoder ignores what follows the end of a JPEG
        one.write_bytes(one.read_bytes().ljust(20_000, b"\0"))
    before, about = verify_images(dataset), path.stat()
    opened.clear()
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    replace(path, other)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns) == (20_000, about.st_mtime_ns)
    after = verify_images(dataset)
    assert opened == [path.name]
    assert [name for name in after if after[name] != before[name]] == [path.name]


def test_the_head_of_a_photo_is_read_anew_once_it_changed(dataset: Dataset, tmp_path: Path) -> None:
    path, other = paths(dataset)[1], tmp_path / "other.jpg"
    assert frame_of(path).size == (64, 48)
    write_photo(other, (32, 16))
    copied_over(path, other)
    assert frame_of(path).size == (32, 16)


def test_a_file_that_changed_just_now_is_not_relied_on(
    dataset: Dataset, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_YOUNG", 3_600_000_000_000)
    verify_images(dataset)
    opened.clear()
    assert sorted(verify_images(dataset)) == sorted(opened)


def test_a_cache_that_is_damaged_is_made_anew(
    dataset: Dataset, opened: list[str], tmp_path: Path
) -> None:
    first = verify_images(dataset)
    (kept,) = (tmp_path / "cache").rglob("*.parquet")
    content = bytearray(kept.read_bytes())
    place = content.index(first[paths(dataset)[0].name].encode())
    content[place : place + 4] = b"0000"  # another hash
    kept.write_bytes(content)
    opened.clear()
    assert verify_images(dataset) == first
    assert len(opened) == len(first)


def test_a_bad_photo_is_named_each_time_and_the_others_are_kept(
    dataset: Dataset, opened: list[str]
) -> None:
    bad = paths(dataset)[0]
    bad.write_bytes(bad.read_bytes()[:-200])
    for _ in range(2):
        with pytest.raises(
            BadData, match=f"1 of {len(dataset.frame)} photos are bad.*\n.*{bad.name}"
        ):
            verify_images(dataset)
    assert opened.count(bad.name) == 2
    assert len(opened) == len(dataset.frame) + 1


def test_a_sample_is_opened_first_and_all_for_their_hashes(
    dataset: Dataset, opened: list[str], tmp_path: Path
) -> None:
    regions = tmp_path / "boxes.json"
    regions.write_text("{}")
    said: list[str] = []
    hashes = PhotoHashes(dataset, {"regions.own": regions}, said.append)
    assert (len(opened), len(hashes)) == (2, len(dataset.frame) + 1)
    assert said == [f"opening 2 of {len(dataset.frame)} photos"]
    found = dict(hashes)
    assert set(opened) == set(dataset.frame["image"])
    assert found == {path.name: hash_of_file(path) for path in paths(dataset)} | {
        "regions.own": hash_of_file(regions)
    }
    assert dict(pickle.loads(pickle.dumps(hashes))) == found


def test_rows_of_one_photo_are_one_file(dataset: Dataset) -> None:
    first = dataset.frame["image"][0]
    dataset.frame["image"] = first
    hashes = PhotoHashes(dataset, {}, lambda text: None)
    assert list(hashes.items()) == [(first, hash_of_file(dataset.image_root / first))]
