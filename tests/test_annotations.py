"""Files of annotations that are nearly right: COCO, PASCAL, regions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_layouts import coco_content, write_coco, write_voc
from PIL import Image
from test_image_file import shown_photo, write_turned

from vlbias.causal.example import Example, Picture
from vlbias.data.coco import read_coco
from vlbias.data.coco_regions import head_regions, mask_regions
from vlbias.data.coco_shapes import checked_shape
from vlbias.data.pascal import read_pascal
from vlbias.data.photo_files import verify_images
from vlbias.errors import BadData
from vlbias.studies.photos.study_regions import _own

Change = Callable[[Any, Any], Any]


def as_text(instances: Any, captions: Any) -> None:
    for image in instances["images"]:
        image["id"] = str(image["id"])
    for entry in instances["annotations"] + captions["annotations"]:
        entry["image_id"] = str(entry["image_id"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda i, c: c["annotations"][0].update(caption=None),
            r"captions.json.*'caption': got None",
        ),
        (
            lambda i, c: c["annotations"][1].update(caption=5),
            r"'annotations', item 2, 'caption': got 5",
        ),
        (as_text, r"'images', item 1, 'id': got '10', expected a whole number"),
        (lambda i, c: i["images"][0].update(width=None), r"'images', item 1, 'width': got None"),
        (lambda i, c: i["images"][0].update(width=0), r"'width': got 0"),
        (lambda i, c: i["images"][0].update(height=float("nan")), r"'height': got nan"),
        (lambda i, c: i["images"][0].update(file_name="../private.png"), "images_anywhere"),
        (lambda i, c: i["categories"][0].update(name="Person"), "class 'Person'"),
        (lambda i, c: i["annotations"][0].update(bbox=None), r"'bbox': got None"),
        (
            lambda i, c: i["annotations"][0].update(bbox=[1, 2, True, 4]),
            r"'bbox', item 3: got True",
        ),
        (lambda i, c: i["annotations"][0].update(bbox=[0.1, 0.1, 0.5, 0.5]), "shares of width"),
        (lambda i, c: i["annotations"][0].update(area="9"), r"'area'"),
        (lambda i, c: i.update(images=5), r"'images': got 5"),
    ],
)
def test_coco_values_are_checked(tmp_path: Path, change: Change, named: str) -> None:
    instances, captions = coco_content()
    write_coco(tmp_path, instances, captions)
    change(instances, captions)
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    with pytest.raises(BadData, match=named):
        read_coco(tmp_path)


def test_a_mark_at_the_begin_of_json_is_no_content(tmp_path: Path) -> None:
    write_coco(tmp_path, *coco_content())
    before = read_coco(tmp_path).content_hash
    for name in ("instances.json", "captions.json"):
        path = tmp_path / name
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_coco(tmp_path).content_hash == before


@pytest.mark.parametrize("drawn", ["shown", "lying"])
def test_coco_boxes_are_on_the_photo_as_it_is_shown(tmp_path: Path, drawn: str) -> None:
    instances, captions = coco_content()
    write_coco(tmp_path, instances, captions)
    size, box = {"shown": ((60, 80), [10, 20, 20, 30]), "lying": ((80, 60), [20, 30, 30, 20])}[
        drawn
    ]
    write_turned(tmp_path / "images" / "000000000010.jpg", 6)
    instances["images"][0].update(width=size[0], height=size[1])
    instances["annotations"] = [a for a in instances["annotations"] if a["image_id"] != 10]
    instances["annotations"].append(
        {"id": 99, "image_id": 10, "category_id": 1, "bbox": box, "area": 600.0}
    )
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    dataset = read_coco(tmp_path)
    verify_images(dataset)
    row = dataset.frame.iloc[0]
    assert (row["width"], row["height"]) == (60, 80)
    assert [row["objects"][0][side] for side in ("x0", "y0", "x1", "y1")] == [10, 20, 30, 50]


def turned_example(tmp_path: Path) -> Example:
    path = write_turned(tmp_path / "7.png", 6)
    worlds = {"null": {"image": Picture(path)}}
    objects = (("person", 10.0, 20.0, 30.0, 50.0, False),)
    return Example("coco/7", "7", worlds, {"size": (60, 80), "objects": objects})


def regions_file(tmp_path: Path, **annotation: Any) -> Path:
    content = {
        "images": [{"id": 7, "width": 80, "height": 60}],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose", "left_eye"]}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, **annotation}],
    }
    (tmp_path / "regions.json").write_text(json.dumps(content))
    return tmp_path / "regions.json"


def test_masks_and_heads_are_on_the_photo_as_it_is_shown(tmp_path: Path) -> None:
    example = turned_example(tmp_path)
    square = [[20, 30, 50, 30, 50, 50, 20, 50]]
    mask = mask_regions(regions_file(tmp_path, segmentation=square), [example])["coco/7"]
    assert np.array_equal(mask.pixels((60, 80)), shown_photo()[..., 1] == 0)
    points = [30, 35, 2, 30, 45, 2]
    (tmp_path / "r").mkdir()
    file = regions_file(tmp_path / "r", keypoints=[*points, 0, 0, 0])
    content = json.loads(file.read_text())
    content["categories"][0]["keypoints"] = ["nose", "left_ear", "right_ear"]
    file.write_text(json.dumps(content))
    (box,) = head_regions(file, [example])["coco/7"].boxes
    # as it lies (30, 40) is the middle of the points, which is shown at (60 - 40, 30)
    assert box[0] < 20 < box[2]
    assert box[1] < 30 < box[3]


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ([[1, 2, 3, 4]], "polygon of 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "polygon of 7 numbers"),
        ([[1, 2, 3, 4, 5, 1e9]], "outside the photo"),
        ([[1, 2, 3, 4, 5, None]], "'?item 6"),
        ([1, 2, 3, 4, 5, 6], "segmentation: item 1"),
        ({"size": [80, 60], "counts": [4800]}, r"size \[80, 60\]"),
        ({"counts": [4800]}, "size None"),
        ({"size": [60, 80], "counts": [4799]}, "add up"),
        ({"size": [60, 80], "counts": [-1, 4801]}, "add up"),
        ({"size": [60, 80], "counts": "x\ud7ff"}, "add up"),
        ({"size": [60, 80], "counts": "oooo"}, "add up"),
        ({"size": [60, 80], "counts": 5}, "add up"),
        ("abc", "segmentation"),
    ],
)
def test_segmentations_that_cannot_be(tmp_path: Path, shape: Any, named: str) -> None:
    with pytest.raises(BadData, match=named):
        mask_regions(regions_file(tmp_path, segmentation=shape), [turned_example(tmp_path)])


def test_packed_run_lengths_are_read_as_pycocotools_packs_them() -> None:
    from pycocotools import mask as coco_mask

    for seed in range(20):
        pixels = np.random.default_rng(seed).random((23, 31)) < seed / 20
        packed = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
        packed["counts"] = packed["counts"].decode()
        shape = {"size": [int(side) for side in packed["size"]], "counts": packed["counts"]}
        assert checked_shape(shape, (31, 23), "a") == shape
        with pytest.raises(BadData, match="add up"):
            checked_shape({**shape, "counts": shape["counts"][:-1]}, (31, 23), "a")


def test_keypoints_that_are_too_few(tmp_path: Path) -> None:
    for keypoints, named in (
        ([1, 2, 2], "3 numbers"),
        (["a"] * 6, "item 1"),
        (5, "list of numbers"),
    ):
        with pytest.raises(BadData, match=named):
            head_regions(regions_file(tmp_path, keypoints=keypoints), [turned_example(tmp_path)])


def test_a_file_of_own_regions(tmp_path: Path) -> None:
    example, file = turned_example(tmp_path), tmp_path / "boxes.json"
    for content, named in (
        ({"coco/7": [[0.1, 0.1, 0.9, 0.9]]}, "shares of width"),
        ({"coco/7": [[1, 2, 3]]}, r"'coco/7', item 1: got \[1, 2, 3\]"),
        ({"coco/7": [["1", 2, 3, 4]]}, r"'coco/7', item 1, item 1"),
        ({"coco/7": 5}, "'coco/7'"),
        ([[1, 2, 3, 4]], "photo ids to lists of boxes"),
    ):
        file.write_text(json.dumps(content))
        with pytest.raises(BadData, match=named):
            _own(file, [example])
    file.write_text(json.dumps({"coco/7": [[1, 2, 3, 4]]}), encoding="utf-8-sig")
    assert _own(file, [example])["coco/7"].boxes == ((1.0, 2.0, 3.0, 4.0),)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("<width>60<", "<width>nan<", r"<size/width>.*nan"),
        ("<width>60<", "<width>inf<", r"<size/width>"),
        ("<width>60<", "<width>0<", r"<size/width>"),
        ("<width>60<", "<width>60.5<", r"<size/width>"),
        ("<xmax>20<", "<xmax>nan<", r"<bndbox/xmax>"),
        ("<annotation>", '<?xml version="1.0" encoding="nothing"?><annotation>', "no XML"),
    ],
)
def test_voc_numbers_are_checked(tmp_path: Path, old: str, new: str, named: str) -> None:
    file = write_voc(tmp_path) / "Annotations/2008_000001.xml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(BadData, match=named):
        read_pascal(tmp_path)


def test_sentences_end_at_newlines_and_begin_with_no_mark(tmp_path: Path) -> None:
    file = write_voc(tmp_path) / "sentences/person/2008_000001.txt"
    before = read_pascal(tmp_path).content_hash
    file.write_text(file.read_text().replace("near a", "near\u2028a"), encoding="utf-8-sig")
    assert read_pascal(tmp_path).content_hash == before


def test_voc_boxes_are_on_the_photo_as_it_is_shown(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    pixels = np.zeros((60, 50, 3), np.uint8)
    write_turned(root / "JPEGImages/2008_000000.jpg", 6, pixels)
    with Image.open(root / "JPEGImages/2008_000000.jpg") as lying:
        assert lying.size == (60, 50)
    dataset = read_pascal(root)
    verify_images(dataset)
    row = dataset.frame.iloc[0]
    assert (row["width"], row["height"]) == (50, 60)
    # (0, 0, 20, 40) of 60 x 50 as it lies
    assert [row["objects"][0][s] for s in ("x0", "y0", "x1", "y1")] == [10, 0, 50, 20]
