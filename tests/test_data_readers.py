from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from data_layouts import MAN, coco_content, write_coco, write_photo, write_voc

from vlbias.data import DATASETS
from vlbias.data.coco import read_coco
from vlbias.data.gender_labels import RULES, GenderRule
from vlbias.data.own_photos import read_own
from vlbias.data.pascal import CLASSES, read_pascal
from vlbias.data.photo_files import verify_images
from vlbias.data.table import (
    licence_notes,
    load_dataset_table,
    make_dataset,
    save_dataset,
    split_of_name,
)
from vlbias.errors import BadData, UnknownName


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco", *coco_content())


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
        assert {"coco", "pascal-sentence", "own", "scenes"} <= set(DATASETS)
        assert all(callable(DATASETS.load(name)) for name in DATASETS)
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
