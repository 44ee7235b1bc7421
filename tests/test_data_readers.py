from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from data_layouts import MAN, coco_content, coco_people, write_coco, write_photo, write_voc

from vlbias.data import DATASETS
from vlbias.data.coco import read_coco
from vlbias.data.labels import RULES, GenderRule
from vlbias.data.own import read_own
from vlbias.data.pascal import CLASSES, read_pascal
from vlbias.data.table import (
    SCHEMA,
    Dataset,
    licence_notes,
    load_dataset_table,
    make_dataset,
    save_dataset,
    split_of_name,
    verify_images,
)
from vlbias.errors import BadData, UnknownName


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
            (lambda i, c: i["annotations"][0].update(bbox=[4, 4]), "coco-val2017/10"),
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
        assert f"{files[1].name}: cannot be read" in message
        assert f"{files[2].name}: 64 x 47 px" in message
        assert files[3].name not in message


class TestTable:
    def test_saving_and_loading_gives_the_same(self, coco: Path, tmp_path: Path) -> None:
        dataset = read_coco(coco)
        save_dataset(dataset, tmp_path / "out")
        for place in (tmp_path / "out", tmp_path / "out" / "examples.parquet"):
            loaded = load_dataset_table(place)
            pd.testing.assert_frame_equal(loaded.frame, dataset.frame, check_dtype=False)
            assert loaded.content_hash == dataset.content_hash
            assert loaded.classes == dataset.classes
            assert loaded.image_root == dataset.image_root
            assert dict(loaded.meta) == dict(dataset.meta)
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
            "examples.json", "examples.parquet",
        ]  # fmt: skip

    def test_json_says_how_the_table_was_made(self, coco: Path, tmp_path: Path) -> None:
        save_dataset(read_coco(coco), tmp_path)
        about = json.loads((tmp_path / "examples.json").read_text())
        assert {
            "reader", "recipe", "rule", "lexicon", "funnel", "split_rule", "image_root", "classes",
            "content_hash", "table_version",
        } <= set(about)  # fmt: skip
        assert not Path(about["image_root"]).is_absolute()

    def test_a_changed_table_is_refused(self, coco: Path, tmp_path: Path) -> None:
        dataset = read_coco(coco)
        save_dataset(dataset, tmp_path)
        other = replace(dataset, frame=dataset.frame.iloc[1:])
        save_dataset(other, tmp_path / "other")
        (tmp_path / "other" / "examples.parquet").rename(tmp_path / "examples.parquet")
        with pytest.raises(BadData, match="not those that were saved"):
            load_dataset_table(tmp_path)

    def test_missing_and_broken_tables(self, coco: Path, tmp_path: Path) -> None:
        with pytest.raises(BadData, match=r"examples.parquet not found"):
            load_dataset_table(tmp_path)
        save_dataset(read_coco(coco), tmp_path)
        (tmp_path / "examples.parquet").write_bytes(b"PAR1")
        with pytest.raises(BadData, match="cannot be read"):
            load_dataset_table(tmp_path)

    def test_the_hash_moves_with_any_cell(self, coco: Path) -> None:
        base = read_coco(coco)
        rows = base.frame.to_dict("records")
        rows[0]["objects"][0]["x0"] += 0.5
        changed = make_dataset(
            rows, image_root=base.image_root, classes=base.classes, meta={"rule": {}}
        )
        assert changed.content_hash != base.content_hash
        rows[0]["objects"][0]["x0"] -= 0.5
        same = make_dataset(rows, image_root=base.image_root, classes=base.classes, meta={})
        assert same.content_hash == base.content_hash

    @pytest.mark.parametrize(
        ("change", "named"),
        [({"split": "train"}, "train"), ({"present": ["sofa"]}, "sofa"),
         ({"image": "gone.jpg"}, "gone.jpg"), ({"id": "coco-val2017/11"}, "repeat")],
    )  # fmt: skip
    def test_rows_that_are_wrong(self, coco: Path, change: dict[str, Any], named: str) -> None:
        base = read_coco(coco)
        rows: list[dict[Any, Any]] = base.frame.to_dict("records")
        rows[0].update(change)
        with pytest.raises(BadData, match=named):
            make_dataset(rows, image_root=base.image_root, classes=base.classes, meta={})

    def test_licence_notes_count_photos_and_say_what_labels_are(self, coco: Path) -> None:
        notes = licence_notes(read_coco(coco))
        assert "Attribution License: 6 photos" in notes
        assert "perceived gender" in notes


class TestPascal:
    def test_rows(self, tmp_path: Path) -> None:
        dataset = read_pascal(write_voc(tmp_path))
        assert list(dataset.frame["group"]) == ["masculine", "feminine", "unknown"]
        assert dataset.classes == CLASSES
        row = dataset.frame.iloc[0]
        assert (row["id"], row["captions"]) == ("pascal-sentence/2008_000000", MAN)
        assert row["split"] == split_of_name("2008_000000")
        assert row["present"] == ["diningtable", "person"]
        corners = [row["objects"][0][side] for side in ("x0", "y0", "x1", "y1")]
        assert corners == [0.0, 0.0, 20.0, 40.0]  # VOC counts from 1, both ends inside
        verify_images(dataset)

    def test_difficult_objects_can_be_left_out(self, tmp_path: Path) -> None:
        dataset = read_pascal(write_voc(tmp_path), difficult=False)
        assert dataset.frame.iloc[0]["present"] == ["person"]

    @pytest.mark.parametrize(
        ("damage", "named"),
        [
            (lambda r: (r / "JPEGImages/2008_000001.jpg").unlink(), "2008_000001.jpg"),
            (lambda r: (r / "Annotations/2008_000001.xml").unlink(), "2008_000001.xml"),
            (lambda r: (r / "Annotations/2008_000001.xml").write_text("<a>"), "no XML"),
            (lambda r: _edit(r, "diningtable", "zebra"), "zebra"),
            (lambda r: _edit(r, "<xmin>1<", "<xmin>one<"), "one"),
            (lambda r: _edit(r, "<xmax>20<", "<xmax>200<"), "outside the image"),
            (lambda r: (r / "sentences/person/2008_000001.txt").write_text("A man.\n"), r"\(1\)"),
            (lambda r: (r / "sentences/2008_000001.txt").write_text("A man.\n"), "second file"),
            (lambda r: (r / "sentences").rename(r / "texts"), "no sentences found"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, damage: Callable[[Path], Any], named: str) -> None:
        damage(write_voc(tmp_path))
        with pytest.raises(BadData, match=named):
            read_pascal(tmp_path)


def _edit(root: Path, old: str, new: str) -> None:
    file = root / "Annotations/2008_000001.xml"
    file.write_text(file.read_text().replace(old, new))


class TestOwn:
    header = "image,text,labels,group,split,boxes\n"

    def csv(self, root: Path, *lines: str, header: str | None = None) -> Path:
        for i in range(3):
            write_photo(root / "photos" / f"{i}.jpg", (32, 24), i)
        (root / "mine.csv").write_text((header or self.header) + "\n".join(lines) + "\n")
        return root / "mine.csv"

    def test_csv_with_three_groups(self, tmp_path: Path) -> None:
        file = self.csv(
            tmp_path,
            'photos/0.jpg,"A nurse, smiling",cup; dog,young,test,"[[""person"", 1, 2, 10, 20]]"',
            "photos/1.jpg,A nurse,cup,middle,fit,",
            "photos/2.jpg,A nurse,,old,dev,",
        )
        dataset = read_own(file)
        assert list(dataset.frame["group"]) == ["young", "middle", "old"]
        assert list(dataset.frame["split"]) == ["test", "fit", "dev"]
        assert dataset.classes == ("cup", "dog", "person")
        assert dataset.frame.iloc[0]["captions"] == ["A nurse, smiling"]
        assert dataset.frame.iloc[0]["present"] == ["cup", "dog", "person"]
        assert dataset.meta["rule"] == {"name": "given", "column": "group"}
        assert dataset.meta["funnel"]["groups"] == {"middle": 1, "old": 1, "young": 1}

    def test_jsonl_with_captions_and_other_column_names(self, tmp_path: Path) -> None:
        self.csv(tmp_path)
        record = {
            "file": "photos/0.jpg", "captions": MAN, "labels": ["cup"], "id": "a", "cluster": "k",
        }  # fmt: skip
        file = tmp_path / "mine.jsonl"
        file.write_text(json.dumps(record) + "\n\n")
        dataset = read_own(file, RULES["strict"], columns={"image": "file"}, classes=["cup", "dog"])
        row = dataset.frame.iloc[0]
        assert (row["id"], row["cluster"], row["group"]) == ("a", "k", "masculine")
        assert dataset.classes == ("cup", "dog")
        assert dataset.meta["rule"] == RULES["strict"].spec()

    @pytest.mark.parametrize(
        ("line", "named"),
        [
            ("photos/9.jpg,t,cup,a,fit,", "9.jpg"),
            ("photos/0.jpg,t,cup,,fit,", r"'group'.*rows \[1\]"),
            (",t,cup,a,fit,", r"'image'.*rows \[1\]"),
            ("photos/0.jpg,t,cup,a,train,", "train"),
            ("photos/0.jpg,t,cup,a,fit", r"cells"),
            ("photos/0.jpg,t,cup,a,fit,,", r"cells"),
            ("photos/0.jpg,t,cup,a,fit,[1", "no JSON"),
            ('photos/0.jpg,t,cup,a,fit,"[[1, 2]]"', "expected .class"),
            ('photos/0.jpg,t,cup,a,fit,"[[""cup"", 0, 0, 99, 9]]"', "outside the image"),
        ],
    )
    def test_bad_rows(self, tmp_path: Path, line: str, named: str) -> None:
        with pytest.raises(BadData, match=named):
            read_own(self.csv(tmp_path, line))

    def test_bad_files(self, tmp_path: Path) -> None:
        with pytest.raises(BadData, match="no rows"):
            read_own(self.csv(tmp_path))
        with pytest.raises(BadData, match="no column group"):
            read_own(self.csv(tmp_path, "photos/0.jpg,cup", header="image,labels\n"))
        with pytest.raises(BadData, match="labels or boxes"):
            read_own(self.csv(tmp_path, "photos/0.jpg,a", header="image,group\n"))
        with pytest.raises(BadData, match="person boxes"):
            read_own(
                self.csv(tmp_path, "photos/0.jpg,cup", header="image,labels\n"),
                GenderRule(single_person=True),
            )
        with pytest.raises(BadData, match="repeat"):
            read_own(self.csv(tmp_path, *["photos/0.jpg,t,cup,a,fit,"] * 2))
        with pytest.raises(BadData, match=r"\.csv"):
            read_own(tmp_path / "mine.xlsx")
        with pytest.raises(BadData, match="not found"):
            read_own(tmp_path / "gone.csv")


class TestRegistry:
    def test_every_name_loads_a_reader(self) -> None:
        assert list(DATASETS) == ["coco", "pascal-sentence", "own"]
        assert DATASETS.load("coco") is read_coco
        assert DATASETS.load("pascal-sentence") is read_pascal
        assert DATASETS.load("own") is read_own
        with pytest.raises(UnknownName, match="coco"):
            DATASETS.load("cocoo")

    def test_the_table_of_names_imports_nothing_heavy(self) -> None:
        code = (
            "import sys, vlbias.data; print([m for m in ('pandas', 'torch') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr


def _prepare(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    file = Path(__file__).resolve().parents[1] / "datasets" / script / "prepare.py"
    command = [sys.executable, str(file), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


class TestScripts:
    def test_coco(self, coco: Path, tmp_path: Path) -> None:
        done = _prepare("coco", coco, "--out", tmp_path / "out", "--verify")
        assert done.returncode == 0, done.stderr
        assert "masculine" in done.stdout
        assert load_dataset_table(tmp_path / "out").content_hash == read_coco(coco).content_hash
        assert "Attribution License" in (tmp_path / "out" / "LICENCES.md").read_text()

    def test_pascal(self, tmp_path: Path) -> None:
        root = write_voc(tmp_path / "voc")
        done = _prepare("pascal_sentence", root, "--out", tmp_path / "out", "--verify")
        assert done.returncode == 0, done.stderr
        assert len(load_dataset_table(tmp_path / "out").frame) == 3

    def test_bad_data_ends_with_2_and_writes_nothing(self, coco: Path, tmp_path: Path) -> None:
        photo = coco / "images" / "000000000010.jpg"
        photo.write_bytes(photo.read_bytes()[:-400])
        done = _prepare("coco", coco, "--out", tmp_path / "out", "--verify")
        assert done.returncode == 2
        assert "000000000010.jpg" in done.stderr
        assert not (tmp_path / "out").exists()


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
