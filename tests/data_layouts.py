"""Tiny COCO, VOC and own layouts, written by the tests in the exact form of the real files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CATEGORIES = ("person", "bicycle", "umbrella")
# Captions of one photo: the first is the prompt caption, the others make the label.
MAN = [
    "A man holding his umbrella.",
    "A man on a street",
    "A guy outside",
    "He stands",
    "A photo",
]
WOMAN = ["A woman near a bicycle.", "A lady on a road", "Her bicycle", "A picture", "A street"]
MIXED = ["Two people.", "A man and a woman", "A couple", "Some people", "A photo"]
NONE = ["A person walking.", "Someone walks", "A person", "A street", "A photo"]


def write_photo(path: Path, size: tuple[int, int], seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


def coco_content() -> tuple[dict[str, Any], dict[str, Any]]:
    """Six photos: two masculine, two feminine, one mixed, one without gender word."""
    stories = [MAN, MAN, WOMAN, WOMAN, MIXED, NONE]
    images, boxes, captions = [], [], []
    for i, story in enumerate(stories):
        number = 10 + i
        images.append(
            {
                "id": number,
                "file_name": f"{number:012d}.jpg",
                "width": 64,
                "height": 48,
                "license": 4,
                "coco_url": f"http://images.example/val2017/{number:012d}.jpg",
            }
        )
        for category, box in ((1, [4, 4, 12, 30]), (3, [40.5, 10, 10, 10])):
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": box,
                    "area": 100.0,
                    "iscrowd": 0,
                }
            )
        # written in reverse, since the reader orders captions by their id
        captions += [
            {"id": 100 * number + k, "image_id": number, "caption": text}
            for k, text in reversed(list(enumerate(story)))
        ]
    instances = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)],
        "licenses": [{"id": 4, "name": "Attribution License"}],
    }
    return instances, {"images": images, "annotations": captions}


def write_coco(
    root: Path, instances: dict[str, Any], captions: dict[str, Any], *, official: bool = False
) -> Path:
    places = (
        ("annotations/instances_val2017.json", "annotations/captions_val2017.json", "val2017")
        if official
        else ("instances.json", "captions.json", "images")
    )
    for place, content in zip(places, (instances, captions), strict=False):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(json.dumps(content))
    for image in instances["images"]:
        size = (image["width"], image["height"])
        write_photo(root / places[2] / image["file_name"], size, image["id"])
    return root


_XML = """<annotation><filename>{name}.jpg</filename><source><image>flickr</image></source>
<size><width>60</width><height>50</height><depth>3</depth></size>
<object><name>person</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>40</ymax></bndbox></object>
<object><name>diningtable</name><difficult>1</difficult>
<bndbox><xmin>31</xmin><ymin>11</ymin><xmax>60</xmax><ymax>50</ymax></bndbox></object>
</annotation>"""


def write_voc(root: Path) -> Path:
    for folder in ("Annotations", "sentences/person"):
        (root / folder).mkdir(parents=True)
    for i, story in enumerate((MAN, WOMAN, NONE)):
        name = f"2008_00000{i}"
        (root / "Annotations" / f"{name}.xml").write_text(_XML.format(name=name))
        (root / "sentences/person" / f"{name}.txt").write_text("\n".join(story) + "\n")
        write_photo(root / "JPEGImages" / f"{name}.jpg", (60, 50), i)
    # a VOC photo that is not in the sentence set
    (root / "Annotations" / "2008_000009.xml").write_text(_XML.format(name="2008_000009"))
    return root


def coco_people() -> Path:
    """Folder of the real photos; skips the test where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco-people"
    folder = Path(os.environ.get("VLBIAS_COCO_PEOPLE", default))
    if not (folder / "instances.json").is_file():
        pytest.skip("coco-people photos are not here; set VLBIAS_COCO_PEOPLE to their folder")
    return folder


def write_own(
    folder: Path, header: Sequence[str], count: int = 12, groups: Sequence[str] = ("man", "woman")
) -> Path:
    """Own photos with a table of the columns that are asked for; half of each group."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(header)
        for i in range(count):
            write_photo(folder / f"{i}.jpg", (64, 48), i)
            values = {
                "image": f"{i}.jpg",
                "group": groups[i % len(groups)],
                "labels": "cup;dog" if i % 3 else "dog",
                "text": f"a {groups[i % len(groups)]} with a dog",
                "boxes": json.dumps([["person", 4, 4, 20, 40], ["cup", 30, 5, 40, 20]]),
            }
            rows.writerow([values.get(name, "x") for name in header])
    return folder
