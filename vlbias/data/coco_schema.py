"""What COCO's files must be, as far as they are read; other keys are left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BeforeValidator
from typing_extensions import TypedDict

from vlbias.data.schema import Count, Finite, OptionalName, Positive, Text, checked
from vlbias.data.text_files import read_json
from vlbias.errors import BadData

__all__ = [
    "Caption",
    "Category",
    "Instance",
    "Instances",
    "Licence",
    "Photo",
    "read_captions",
    "read_instances",
    "read_regions_file",
]


def _corners(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError("expected [x, y, width, height]")
    return value


def _numbers(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError("expected a list of numbers")
    return value


def _address(value: Any) -> Any:
    return value if isinstance(value, str) else ""


def _flag(value: Any) -> bool:
    if value not in (None, 0, 1):  # True and False are among them
        raise ValueError("expected 0 or 1")
    return bool(value)


_Box = Annotated[tuple[Finite, Finite, Finite, Finite], BeforeValidator(_corners)]
_Address = Annotated[str, BeforeValidator(_address)]


class Photo(TypedDict):
    """An entry of "images"."""

    id: Count
    file_name: Text
    width: Positive
    height: Positive
    orig_width: NotRequired[Positive]
    orig_height: NotRequired[Positive]
    license: NotRequired[OptionalName]
    coco_url: NotRequired[_Address]
    flickr_url: NotRequired[_Address]


class Category(TypedDict):
    """An entry of "categories"."""

    id: Count
    name: Text
    keypoints: NotRequired[list[Text]]


class Instance(TypedDict):
    """An entry of "annotations" of an instances file."""

    id: Count
    image_id: Count
    category_id: Count
    bbox: _Box
    iscrowd: NotRequired[Annotated[bool, BeforeValidator(_flag)]]
    area: NotRequired[Finite | None]


class Shape(TypedDict):
    """An entry of "annotations" of a file of segmentations or keypoints."""

    id: Count
    image_id: Count
    category_id: NotRequired[Count]
    segmentation: NotRequired[Any]
    keypoints: NotRequired[Annotated[list[Finite], BeforeValidator(_numbers)]]


class Caption(TypedDict):
    """An entry of "annotations" of a captions file."""

    id: Count
    image_id: Count
    caption: Text


class Licence(TypedDict):
    """An entry of "licenses"."""

    id: OptionalName
    name: OptionalName


class Instances(TypedDict):
    """A file instances_<subset>.json."""

    images: list[Photo]
    annotations: list[Instance]
    categories: list[Category]
    licenses: NotRequired[list[Licence]]


class _Captions(TypedDict):
    annotations: list[Caption]
    images: Any


class _Size(TypedDict):
    id: Count
    width: Positive
    height: Positive


class Regions(TypedDict):
    """A file of segmentations or keypoints."""

    images: list[_Size]
    annotations: list[Shape]
    categories: list[Category]


def read_instances(path: Path) -> Instances:
    """The content of an instances file.

    Raises:
        BadData: names the file, the entry and the key.
    """
    return checked(Instances, _content(path, ("images", "annotations", "categories")), str(path))


def read_captions(path: Path) -> Sequence[Caption]:
    """The captions of a captions file.

    Raises:
        BadData: names the file, the entry and the key.
    """
    return checked(_Captions, _content(path, ("images", "annotations")), str(path))["annotations"]


def read_regions_file(path: Path) -> Regions:
    """The content of a file of segmentations or keypoints; those of its photos that are not read too.

    Raises:
        BadData: names the file, the entry and the key.
    """
    return checked(Regions, _content(path, ("images", "annotations", "categories")), str(path))


def _content(path: Path, needed: Sequence[Literal["images", "annotations", "categories"]]) -> Any:
    content = read_json(path, "see the README of datasets/coco")
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise BadData(f"{path} lacks {', '.join(missing)}; expected the COCO format")
    return content
