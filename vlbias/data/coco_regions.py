"""Person masks and heads from COCO's own files: segmentations and person keypoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from vlbias.causal.example import Example
from vlbias.causal.region import Box, Mask, Region
from vlbias.data.coco_schema import Shape, read_regions_file
from vlbias.data.coco_shapes import checked_shape
from vlbias.data.photo_rows import frame_drawn_on
from vlbias.data.regions import boxes_of
from vlbias.errors import BadData, MissingExtra

__all__ = ["head_box", "head_regions", "mask_regions"]

_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_EYES, _EARS = ("left_eye", "right_eye"), ("left_ear", "right_ear")
_SHOULDERS = ("left_shoulder", "right_shoulder")
# widths of a head in those of what is seen of it: drawn from adult proportions, hair included
_PER_EARS, _PER_EYES, _PER_SHOULDERS, _PER_NOSE_EAR = 1.5, 3.2, 0.75, 2.2


def mask_regions(
    instances: Path, examples: Sequence[Example], *, category: str = "person"
) -> dict[str, Region]:
    """The masks of a category, all instances of a photo in one, under the name "<category>-mask".

    Args:
        instances: A COCO instances file with segmentations, polygons or run lengths.
        examples: Their ids end in the file's image ids; photos of another scale get scaled masks.
        category: Name of the category.

    Raises:
        BadData: if the file has no such category, or lacks a photo or its segmentations.
        MissingExtra: if pycocotools is not installed.
    """
    coco_mask = _pycocotools()
    content = read_regions_file(instances)
    numbers = [c["id"] for c in content["categories"] if c["name"] == category]
    if len(numbers) != 1:
        raise BadData(f"{instances} has no category {category!r}")
    sizes = {str(image["id"]): (image["width"], image["height"]) for image in content["images"]}
    shapes: dict[str, list[Shape]] = defaultdict(list)
    for annotation in content["annotations"]:
        if annotation.get("category_id") == numbers[0]:
            shapes[str(annotation["image_id"])].append(annotation)
    found = {}
    for example in examples:
        image = _number(example, sizes, instances)
        pixels = np.zeros(sizes[image][::-1], dtype=bool)
        for annotation in shapes[image]:
            if not annotation.get("segmentation"):
                raise BadData(
                    f"{instances}: annotation {annotation['id']} has no segmentation; take the official "
                    "file, or the person boxes"
                )
            where = f"{instances}, annotation {annotation['id']}"
            shape = checked_shape(annotation["segmentation"], sizes[image], where)
            pixels |= _rasterised(coco_mask, shape, sizes[image])
        frame = frame_drawn_on(example, sizes[image])
        if frame is not None:
            pixels = frame.shown_pixels(pixels)
        scaled = _scaled(pixels, example.targets["size"])
        mask = Mask.of(scaled) if scaled.any() else None
        found[example.id] = Region(
            f"{category}-mask", boxes_of(example, person=True) if mask else (), mask
        )
    return found


def _rasterised(coco_mask: Any, shape: Any, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    width, height = size
    if isinstance(shape, dict):
        packed = isinstance(shape["counts"], str | bytes)
        code = shape if packed else coco_mask.frPyObjects(shape, height, width)
    else:
        code = coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
    inside: np.ndarray[Any, Any] = coco_mask.decode(code).astype(bool)
    return inside


def _scaled(pixels: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """The pixel of a mask at the centre of each pixel of an image of another size."""
    height, width = pixels.shape
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(int)
    sampled: np.ndarray[Any, Any] = pixels[rows[:, None], columns]
    return sampled


def head_regions(keypoints: Path, examples: Sequence[Example]) -> dict[str, Region]:
    """Boxes around the heads of persons with visible face keypoints, under the name "head".

    Args:
        keypoints: A COCO person_keypoints file.
        examples: Their ids end in the file's image ids; boxes are scaled to the photos.

    Raises:
        BadData: if the file has no keypoints, or lacks a photo.
    """
    content = read_regions_file(keypoints)
    names = next((c["keypoints"] for c in content["categories"] if "keypoints" in c), None)
    if names is None:
        raise BadData(f"{keypoints} has no keypoints; expected person_keypoints_<subset>.json")
    sizes = {str(image["id"]): (image["width"], image["height"]) for image in content["images"]}
    points: dict[str, list[list[float]]] = defaultdict(list)
    for annotation in content["annotations"]:
        given = annotation.get("keypoints") or []
        if len(given) not in (0, 3 * len(names)):
            raise BadData(
                f"{keypoints}, annotation {annotation['id']}: {len(given)} numbers, expected x, y and "
                f"visibility of each of {len(names)} keypoints"
            )
        points[str(annotation["image_id"])].append(given)
    found = {}
    for example in examples:
        image = _number(example, sizes, keypoints)
        heads = [head_box(names, given, sizes[image]) for given in points[image] if given]
        found[example.id] = Region("head", _on_photo(example, heads, sizes[image]))
    return found


def _on_photo(
    example: Example, boxes: Sequence[Box | None], drawn: tuple[int, int]
) -> tuple[Box, ...]:
    """Boxes drawn on a photo of one size, on the photo as it is shown to models."""
    kept = [box for box in boxes if box is not None]
    frame = frame_drawn_on(example, drawn)
    if frame is not None:
        kept, drawn = [frame.shown_box(box, drawn) for box in kept], drawn[::-1]
    size = example.targets["size"]
    x, y = size[0] / drawn[0], size[1] / drawn[1]
    return tuple((b[0] * x, b[1] * y, b[2] * x, b[3] * y) for b in kept)


def head_box(names: Sequence[str], given: Sequence[float], size: tuple[int, int]) -> Box | None:
    """The box around a head, or None where fewer than two of its keypoints are labelled.

    A square on the mean of nose, eyes and ears, as wide as the largest of 1.5 ear distances, 3.2 eye
    distances, 2.2 distances from nose to ear, and, in default of these, 0.75 shoulder distances; half
    as high again upwards for hair. Cut at the image.

    Args:
        names: Of the keypoints, as in COCO.
        given: x, y and visibility of each in turn.
        size: Width and height of the image.
    """
    at = {
        name: np.array(given[3 * i : 3 * i + 2], dtype=float)
        for i, name in enumerate(names)
        if given[3 * i + 2] > 0
    }
    face = [at[name] for name in _FACE if name in at]
    if len(face) < 2:
        return None

    def apart(pair: tuple[str, str], factor: float) -> float:
        one, other = (at.get(name) for name in pair)
        return 0.0 if one is None or other is None else factor * float(np.hypot(*(one - other)))

    width = max(
        apart(_EARS, _PER_EARS),
        apart(_EYES, _PER_EYES),
        *(apart(("nose", ear), _PER_NOSE_EAR) for ear in _EARS),
    )
    width = width or apart(_SHOULDERS, _PER_SHOULDERS)
    if width == 0.0:
        return None
    x, y = np.mean(face, axis=0)
    box = (
        max(0.0, x - width / 2),
        max(0.0, y - 0.75 * width),
        min(float(size[0]), x + width / 2),
        min(float(size[1]), y + width / 2),
    )
    return box if box[2] > box[0] and box[3] > box[1] else None


def _number(example: Example, known: Mapping[str, Any], file: Path) -> str:
    number = example.id.rpartition("/")[2]
    if number not in known:
        raise BadData(f"{file} has no image {number} ({example.id}); use files of the same subset")
    return number


def _pycocotools() -> Any:
    try:
        return import_module("pycocotools.mask")
    except ImportError as error:
        raise MissingExtra("detection", "pycocotools") from error
