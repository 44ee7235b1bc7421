from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_layouts import MAN, coco_content, coco_people, write_coco, write_photo

from vlbias.data.coco import read_coco
from vlbias.data.gender_labels import GenderRule
from vlbias.data.photo_files import verify_images
from vlbias.data.table import (
    SCHEMA,
    Dataset,
)
from vlbias.errors import BadData


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco", *coco_content())


class TestCoco:
    def test_rows(self, coco: Path) -> None:
        dataset = read_coco(coco)
        assert list(dataset.frame.columns) == SCHEMA.names
        row = dataset.frame.set_index("id").loc["coco-val2017/10"]
        assert row["captions"] == MAN  # by annotation id, though the file has them in reverse
        assert (row["group"], row["split"], row["licence"]) == (
            "masculine", "test", "Attribution License",
        )  # fmt: skip
        assert row["present"] == ["person", "umbrella"]
        assert row["objects"][1] == {
            "class": "umbrella", "x0": 40.5, "y0": 10.0, "x1": 50.5, "y1": 20.0,
            "crowd": False, "area": 100.0,
        }  # fmt: skip
        assert dataset.classes == ("person", "bicycle", "umbrella")

    def test_funnel_counts_what_was_left_out(self, coco: Path) -> None:
        funnel = read_coco(coco).meta["funnel"]
        assert funnel["steps"] == {
            "images": 6, "with person": 6, "gender word": 5, "not mixed": 4, "kept": 4,
        }  # fmt: skip
        assert funnel["groups"] == {"masculine": 2, "feminine": 2}
        assert funnel["dropped"] == {"mixed": 1, "no gender word": 1}

    def test_official_layout_gives_the_same_photos(self, coco: Path, tmp_path: Path) -> None:
        official = write_coco(tmp_path / "official", *coco_content(), official=True)
        assert read_coco(official).content_hash == read_coco(coco).content_hash
        assert read_coco(official, subset="val2017").image_root == official / "val2017"

    def test_photos_without_a_person_are_counted_and_left_out(self, tmp_path: Path) -> None:
        instances, captions = coco_content()
        instances["annotations"] = [
            a for a in instances["annotations"] if (a["image_id"], a["category_id"]) != (10, 1)
        ]
        root = write_coco(tmp_path, instances, captions)
        dataset = read_coco(root)
        assert len(dataset.frame) == 5
        assert dataset.meta["funnel"]["steps"]["with person"] == 5
        assert dataset.meta["funnel"]["dropped"]["no person"] == 1
        everyone = read_coco(root, people_only=False).frame.set_index("id")
        assert everyone.loc["coco-val2017/10", "group"] == "unknown"

    def test_area_threshold_is_in_pixels_of_the_original(self, tmp_path: Path) -> None:
        instances, captions = coco_content()  # person boxes of 12 x 30 px
        small = GenderRule(min_person_area=1000.0)
        root = write_coco(tmp_path, instances, captions)
        assert read_coco(root, small).meta["funnel"]["steps"]["kept"] == 0
        for image in instances["images"]:
            image.update(orig_width=128, orig_height=96)
        (root / "instances.json").write_text(json.dumps(instances))
        assert read_coco(root, small).meta["funnel"]["steps"]["kept"] == 4

    def test_crowds_are_kept_and_block_the_single_person_rule(self, tmp_path: Path) -> None:
        instances, captions = coco_content()
        crowd = {"id": 99, "image_id": 10, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 1}
        instances["annotations"].append({**crowd, "area": 25.0})
        dataset = read_coco(
            write_coco(tmp_path, instances, captions), GenderRule(single_person=True)
        )
        row = dataset.frame.set_index("id").loc["coco-val2017/10"]
        assert row["objects"][-1]["crowd"] is True
        assert row["group"] == "unknown"

    @pytest.mark.parametrize(
        ("damage", "named"),
        [
            (lambda i, c: _drop(c, 15), "15"),
            (lambda i, c: _caption_of(c, 77), "77"),
            (lambda i, c: i["annotations"][0].update(category_id=91), "91"),
            (lambda i, c: i["annotations"][0].update(image_id=4711), "4711"),
            (lambda i, c: i["annotations"][1].update(id=1), "annotation ids"),
            (lambda i, c: i["images"][1].update(id=10), "image ids"),
            (lambda i, c: c["annotations"][1].update(id=c["annotations"][0]["id"]), "caption ids"),
            (lambda i, c: i["annotations"][0].update(bbox=[60, 4, 12, 30]), "coco-val2017/10"),
            (lambda i, c: i["annotations"][0].update(bbox=[4, 4, -1, 30]), "coco-val2017/10"),
            (lambda i, c: i["annotations"][0].update(bbox=[4, 4]), "item 1, 'bbox'"),
            (lambda i, c: i["annotations"][0].pop("bbox"), "bbox"),
            (lambda i, c: i.pop("categories"), "categories"),
            (lambda i, c: i["categories"][2].update(name="bicycle"), "bicycle"),
        ],
    )
    def test_files_that_contradict_each_other(
        self, tmp_path: Path, damage: Callable[[Any, Any], Any], named: str
    ) -> None:
        instances, captions = coco_content()
        root = write_coco(tmp_path, instances, captions)
        instances, captions = copy.deepcopy((instances, captions))
        damage(instances, captions)
        (root / "instances.json").write_text(json.dumps(instances))
        (root / "captions.json").write_text(json.dumps(captions))
        with pytest.raises(BadData, match=named):
            read_coco(root)

    def test_missing_photos_are_all_named(self, coco: Path) -> None:
        for number in (11, 13):
            (coco / "images" / f"{number:012d}.jpg").unlink()
        with pytest.raises(BadData, match=r"2 image files.*000000000011.jpg, 000000000013.jpg"):
            read_coco(coco)

    def test_missing_or_broken_files(self, coco: Path) -> None:
        (coco / "captions.json").write_text("{")
        with pytest.raises(BadData, match=r"captions.json is no JSON"):
            read_coco(coco)
        (coco / "captions.json").unlink()
        with pytest.raises(BadData, match=r"captions.json not found"):
            read_coco(coco)
        with pytest.raises(BadData, match="no subset"):
            read_coco(coco / "images")

    def test_several_subsets_must_be_told_apart(self, tmp_path: Path) -> None:
        root = write_coco(tmp_path, *coco_content(), official=True)
        (root / "annotations/instances_train2017.json").write_text("{}")
        with pytest.raises(BadData, match=r"train2017.*val2017"):
            read_coco(root)
        with pytest.raises(BadData, match=r"instances_test2017.json|no folder of photos"):
            read_coco(root, subset="test2017")

    def test_too_few_captions_for_the_rule(self, coco: Path) -> None:
        with pytest.raises(BadData, match="holds out"):
            read_coco(coco, GenderRule(held_out=5))


def _drop(captions: dict[str, Any], image: int) -> None:
    kept = [c for c in captions["annotations"] if c["image_id"] != image]
    captions["annotations"] = kept


def _caption_of(captions: dict[str, Any], image: int) -> None:
    captions["annotations"].append({"id": 1, "image_id": image, "caption": "A man"})


class TestVerify:
    def test_sound_photos_pass(self, coco: Path) -> None:
        verify_images(read_coco(coco))

    def test_every_offender_is_listed(self, coco: Path) -> None:
        dataset = read_coco(coco)
        files = [coco / "images" / f"{number:012d}.jpg" for number in range(10, 14)]
        files[0].unlink()
        files[1].write_bytes(files[1].read_bytes()[:-400])  # truncated JPEG
        write_photo(files[2], (64, 47))
        with pytest.raises(BadData) as caught:
            verify_images(dataset)
        message = str(caught.value)
        assert message.startswith("3 of 6")
        assert f"{files[0].name}: file not found" in message
        assert f"{files[1].name}: file cannot be read" in message
        assert f"{files[2].name}: 64 x 47 px" in message
        assert files[3].name not in message


@pytest.fixture(scope="module")
def people() -> Dataset:
    return read_coco(coco_people())


class TestRealPhotos:
    def test_counts_of_the_plain_rule(self) -> None:
        """Nearly those of the README's rule: the paired table knows a few words more."""
        rule = GenderRule("any", min_captions=1, held_out=0)
        funnel = read_coco(coco_people(), rule).meta["funnel"]
        assert funnel["steps"]["images"] == funnel["steps"]["with person"] == 1835
        assert abs(funnel["groups"]["masculine"] - 787) <= 5
        assert abs(funnel["groups"]["feminine"] - 330) <= 5
        assert abs(funnel["dropped"]["mixed"] - 163) <= 5
        assert abs(funnel["dropped"]["no gender word"] - 555) <= 5

    def test_strict_keeps_enough_of_both_in_every_split(self, people: Dataset) -> None:
        counts = people.frame.groupby(["split", "group"]).size()
        for split in ("fit", "dev", "test"):
            assert counts[split, "masculine"] > counts[split, "feminine"] > 50

    def test_split_is_that_of_the_readme(self, people: Dataset) -> None:
        rest = people.frame["id"].str.rpartition("/")[2].astype(int) % 5
        assert (rest == 0).equals(people.frame["split"] == "test")
        assert (rest == 1).equals(people.frame["split"] == "dev")

    def test_every_photo_opens(self, people: Dataset) -> None:
        verify_images(people)
