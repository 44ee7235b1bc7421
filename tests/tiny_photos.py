"""Noise in memory, a tiny photo set on disk, and a study of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from data_layouts import write_photo
from PIL import Image

from vlbias.causal.example import Inputs, Picture


def pictures(n: int, seed: int = 0, size: tuple[int, int] = (40, 30)) -> list[Picture]:
    """Images of noise in memory."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, size[1], size[0], 3), dtype=np.uint8)
    return [Picture(Image.fromarray(array)) for array in pixels]


TEXTS = (
    ("a photo of a man with a dog", "a photo of a person with a dog"),
    ("a woman riding a horse", "a person riding a horse"),
    ("a man with his umbrella on the street", "a person with their umbrella on the street"),
)


def sides(n: int = 2, seed: int = 0) -> tuple[list[Inputs], list[Inputs]]:
    """Inputs of a few examples in two worlds in which image and text both differ, aligned."""
    images = pictures(2 * n, seed)
    return (
        [{"image": images[i], "text": TEXTS[i % 3][0]} for i in range(n)],
        [{"image": images[n + i], "text": TEXTS[i % 3][1]} for i in range(n)],
    )


CLASSES = ("person", "bicycle", "umbrella")


def write_photos(root: Path, count: int = 24, splits: int = 2) -> Path:
    """A COCO layout with half masculine, half feminine photos, in test, dev and, of three splits, fit."""
    images, boxes, captions = [], [], []
    for i in range(count):
        number = 10 + 5 * (i // splits) + i % splits
        who = ("man", "woman")[i // splits % 2]
        name = f"{number:012d}.jpg"
        images.append({"id": number, "file_name": name, "width": 64, "height": 48, "license": 4})
        things = [(1, [4, 4, 12, 30])] + [
            (k, [40, 10, 10, 10]) for k in (2, 3) if (i // (2 * k)) % 2
        ]
        for category, box in things:
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
        story = [f"A {who} near a bicycle.", f"A {who} on a street", f"a {who}", "a street", "a"]
        captions += [
            {"id": 100 * number + k, "image_id": number, "caption": text}
            for k, text in enumerate(story)
        ]
        write_photo(root / "images" / name, (64, 48), number)
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)]
    licenses = [{"id": 4, "name": "Attribution License"}]
    instances = {
        "images": images,
        "annotations": boxes,
        "categories": categories,
        "licenses": licenses,
    }
    (root / "instances.json").write_text(json.dumps(instances))
    (root / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    return root


STUDY = """
name = "tiny"
model = "{model}"
contrasts = ["null->mask-gender", "null->replace-gender", "null->both", "null->placebo-image",
             "null->null"]
mediators = ["image_encoder", "text_encoder", "image_encoder/head.*[*]", "text_encoder/mlp.*"]
min_group = 2
shard_size = 4
mediator_batch = 32

[dataset]
name = "coco"
path = "{photos}"
splits = ["dev", "test"]

[operating_point]
min_negatives = 1
min_events = 0
"""


def write_study(path: Path, model: Path, photos: Path, **changes: str) -> Path:
    """A study file on the tiny photos; `changes` replace text in it, old = new."""
    text = STUDY.format(model=model, photos=photos)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
