"""COCO photos with people: labels, captions, gender words, splits, and views cut out of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, resize, to_image

from vlbias.errors import BadData

__all__ = [
    "Corpus",
    "Photo",
    "article",
    "key_of",
    "person_word",
    "read_corpus",
    "split_of",
    "to_pixels",
]

MASCULINE = frozenset({
    "man", "men", "boy", "boys", "male", "males", "guy", "guys", "gentleman", "father", "husband",
    "son",
})  # fmt: skip
FEMININE = frozenset({
    "woman", "women", "girl", "girls", "female", "females", "lady", "ladies", "mother", "wife",
    "daughter",
})  # fmt: skip
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo and what people wrote and drew about it.

    Args:
        id: COCO id; `split_of(id)` says what it may be used for.
        path: The image file.
        captions: Its captions, in order of their ids.
        boxes: Left, top, right, bottom in pixels of the file, [objects, 4].
        classes: Index of the category of each box, [objects].
        gender: "masculine", "feminine", "mixed" or "unknown", by whole words of all captions.
    """

    id: int
    path: Path
    captions: tuple[str, ...]
    boxes: np.ndarray
    classes: np.ndarray
    gender: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """All photos in order of their ids, and the names of the categories."""

    photos: tuple[Photo, ...]
    categories: tuple[str, ...]

    def split(self, name: str) -> tuple[Photo, ...]:
        """The photos of one split: "fit", "dev" or "test"."""
        return tuple(photo for photo in self.photos if split_of(photo.id) == name)

    def presence(self, photos: Sequence[Photo]) -> np.ndarray:
        """Which category has a box in which photo, bool [photos, categories]."""
        present = np.zeros((len(photos), len(self.categories)), bool)
        for row, photo in zip(present, photos, strict=True):
            row[photo.classes] = True
        return present


def split_of(photo_id: int) -> str:
    """The split of a photo, by the fixed rule of the data: id modulo 5."""
    return {0: "test", 1: "dev"}.get(photo_id % 5, "fit")


def gender_of(captions: Sequence[str]) -> str:
    """The perceived gender that the captions name, by whole words; not a person's identity."""
    words = {word for caption in captions for word in re.findall(r"[a-z]+", caption.lower())}
    masculine, feminine = bool(words & MASCULINE), bool(words & FEMININE)
    if masculine and feminine:
        return "mixed"
    return "masculine" if masculine else "feminine" if feminine else "unknown"


def person_word(gender: str) -> str:
    """The noun that a caption of this perceived gender would use."""
    return {"masculine": "man", "feminine": "woman"}.get(gender, "person")


def article(noun: str) -> str:
    """The noun behind its indefinite article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def read_corpus(folder: Path) -> Corpus:
    """The photos of a COCO-like folder: images/, instances.json, captions.json.

    Raises:
        BadData: if a file is missing or a photo has no caption; names it.
    """
    tables = {}
    for name in ("instances", "captions"):
        path = folder / f"{name}.json"
        if not path.is_file():
            raise BadData(f"{path} is missing; --photos wants a folder in COCO layout")
        tables[name] = json.loads(path.read_text(encoding="utf-8"))
    kinds = sorted(tables["instances"]["categories"], key=lambda each: each["id"])
    index = {each["id"]: i for i, each in enumerate(kinds)}
    texts: dict[int, list[tuple[int, str]]] = {}
    for row in tables["captions"]["annotations"]:
        texts.setdefault(row["image_id"], []).append((row["id"], " ".join(row["caption"].split())))
    boxes: dict[int, list[tuple[list[float], int]]] = {}
    for row in tables["instances"]["annotations"]:
        boxes.setdefault(row["image_id"], []).append((row["bbox"], index[row["category_id"]]))
    photos = []
    for row in sorted(tables["instances"]["images"], key=lambda each: each["id"]):
        if row["id"] not in texts:
            raise BadData(f"photo {row['id']} has no caption in {folder / 'captions.json'}")
        captions = tuple(text for _, text in sorted(texts[row["id"]]))
        drawn = boxes.get(row["id"], [])
        corners = np.array([box for box, _ in drawn], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        photos.append(
            Photo(
                id=row["id"],
                path=folder / "images" / row["file_name"],
                captions=captions,
                boxes=corners,
                classes=np.array([kind for _, kind in drawn], np.int64),
                gender=gender_of(captions),
            )
        )
    return Corpus(tuple(photos), tuple(each["name"] for each in kinds))


def key_of(photos: Sequence[Photo]) -> str:
    """A short name that differs whenever ids, captions or boxes do."""
    seen = [(photo.id, photo.captions, photo.boxes.tolist()) for photo in photos]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:12]


def decode(photo: Photo) -> Tensor:
    """The pixels of a photo, uint8 [3, height, width].

    Raises:
        BadData: if the file is missing; names it.
    """
    if not photo.path.is_file():
        raise BadData(f"image file not found: {photo.path}")
    with Image.open(photo.path) as image:
        return to_image(image.convert("RGB"))


def to_pixels(image: Tensor, pixels: int) -> Tensor:
    """The whole image as the model sees it: squeezed to a square, normalised, [3, p, p].

    The same arithmetic as the image processor that is saved with the model.
    """
    square = resize(image, [pixels, pixels], InterpolationMode.BICUBIC, antialias=True)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (square.float() / 255 - mean) / std
