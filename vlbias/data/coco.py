"""Reader of MSCOCO: the official layout, or one folder with instances.json and captions.json."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlbias.data.gender_labels import GenderRule
from vlbias.data.photo_rows import Photo, boxed, labelled_rows
from vlbias.data.table import Dataset, make_dataset, split_of_number
from vlbias.errors import BadData

__all__ = ["RECIPE", "read_coco"]

RECIPE = "1"


@dataclass(frozen=True, slots=True)
class _Files:
    instances: Path
    captions: Path
    images: Path
    subset: str


def read_coco(
    path: Path,
    rule: GenderRule = GenderRule(),  # noqa: B008 - frozen
    *,
    subset: str | None = None,
    people_only: bool = True,
) -> Dataset:
    """Photos of MSCOCO with captions, boxes and the captioners' perceived gender.

    Reads `annotations/instances_<subset>.json` and `annotations/captions_<subset>.json` with
    photos in `<subset>/`, `images/<subset>/` or `images/`, or else `instances.json`,
    `captions.json` and `images/`. Captions are ordered by annotation id. Splits go by image id:
    rest 0 of 5 is test, 1 is dev, else fit.

    Args:
        path: Folder of the data.
        rule: How captions become a perceived gender.
        subset: For example "val2017"; needed where there is more than one.
        people_only: Leave out photos without a person box.

    Raises:
        BadData: if files are missing, ids repeat or do not match between the files, a category
            is unknown, or a box is not in its photo; names them.
    """
    path = Path(path)
    files = _find(path, subset)
    instances, captions = _load(files.instances), _load(files.captions)
    source = (
        f"coco-{files.subset}" if files.subset else f"coco-{_subset_of(instances) or path.name}"
    )
    try:
        photos = list(_photos(instances, captions, files, source))
    except KeyError as error:
        raise BadData(f"{files.instances} or {files.captions}: an entry lacks {error}") from error
    rows, funnel = labelled_rows(photos, rule, people_only=people_only)
    meta = {
        "reader": "coco",
        "recipe": RECIPE,
        "source": source,
        "rule": rule.spec(),
        "funnel": funnel.to_json(),
        "split_rule": "image id % 5: 0 test, 1 dev, else fit",
        "options": {"subset": subset, "people_only": people_only},
    }
    classes = [category["name"] for category in instances["categories"]]
    return make_dataset(rows, image_root=files.images, classes=classes, meta=meta)


def _find(path: Path, subset: str | None) -> _Files:
    if subset is None and (path / "instances.json").is_file():
        return _Files(path / "instances.json", path / "captions.json", path / "images", "")
    there = {file.stem.partition("_")[2] for file in path.glob("annotations/instances_*.json")}
    if subset is None and len(there) == 1:
        subset = there.pop()
    if subset is None:
        raise BadData(
            f"{path} has instances of {sorted(there) or 'no subset'}; expected instances.json or "
            "annotations/instances_<subset>.json with the option subset naming which"
        )
    named = path / "annotations"
    places = [path / subset, path / "images" / subset, path / "images"]
    images = next((place for place in places if place.is_dir()), None)
    if images is None:
        raise BadData(f"no folder of photos; expected one of {', '.join(map(str, places))}")
    return _Files(
        named / f"instances_{subset}.json", named / f"captions_{subset}.json", images, subset
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadData(f"{path} not found; see the README of datasets/coco") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"{path} is no JSON ({error}); fetch it again") from error
    needed = ("images", "annotations") + (("categories",) if "instances" in path.name else ())
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise BadData(f"{path} lacks {', '.join(missing)}; expected the COCO format")
    return content  # type: ignore[no-any-return]


def _subset_of(instances: Mapping[str, Any]) -> str | None:
    """The subset in a photo's address, as in ".../val2017/000000000139.jpg", if it has one."""
    parts = (
        str(instances["images"][0].get("coco_url", "")).split("/") if instances["images"] else []
    )
    return parts[-2] if len(parts) > 2 else None


def _unique(items: Iterable[Mapping[str, Any]], what: str, file: Path) -> None:
    twice = [i for i, n in Counter(item["id"] for item in items).items() if n > 1]
    if twice:
        raise BadData(f"{file}: {what} ids that repeat: {_few(twice)}")


def _few(ids: Iterable[Any]) -> str:
    listed = sorted(ids)
    return ", ".join(map(str, listed[:10])) + (
        f" … ({len(listed)} in all)" if len(listed) > 10 else ""
    )


def _check(
    instances: Mapping[str, Any], captions: Mapping[str, Any], files: _Files
) -> dict[int, str]:
    """Category id to name, once both files are known to belong together."""
    for what, content, file in (
        ("image", instances["images"], files.instances),
        ("annotation", instances["annotations"], files.instances),
        ("category", instances["categories"], files.instances),
        ("caption", captions["annotations"], files.captions),
    ):
        _unique(content, what, file)
    names = {category["id"]: category["name"] for category in instances["categories"]}
    images = {image["id"] for image in instances["images"]}
    unknown = {a["category_id"] for a in instances["annotations"]} - names.keys()
    if unknown:
        raise BadData(f"{files.instances}: category ids without a name: {_few(unknown)}")
    astray = {a["image_id"] for a in instances["annotations"]} - images
    if astray:
        raise BadData(f"{files.instances}: boxes of images that are not listed: {_few(astray)}")
    captioned = {c["image_id"] for c in captions["annotations"]}
    if captioned != images:
        raise BadData(
            f"{files.captions} does not match {files.instances}: captions without image "
            f"{_few(captioned - images) or 'none'}; images without caption "
            f"{_few(images - captioned) or 'none'}; use files of the same subset"
        )
    return names


def _photos(
    instances: Mapping[str, Any], captions: Mapping[str, Any], files: _Files, source: str
) -> Iterator[Photo]:
    names = _check(instances, captions, files)
    licences = {entry["id"]: entry["name"] for entry in instances.get("licenses", ())}
    boxes: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in instances["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    sentences: dict[int, list[str]] = defaultdict(list)
    for caption in sorted(captions["annotations"], key=lambda c: c["id"]):
        sentences[caption["image_id"]].append(" ".join(caption["caption"].split()))
    for image in instances["images"]:
        number, size = image["id"], (image["width"], image["height"])
        original = image.get("orig_width", size[0]) * image.get("orig_height", size[1])
        yield Photo(
            id=f"{source}/{number}",
            image=image["file_name"],
            width=size[0],
            height=size[1],
            captions=sentences[number],
            objects=_objects(boxes[number], names, size, f"{source}/{number}"),
            split=split_of_number(number),
            licence=licences.get(image.get("license"), ""),
            source=image.get("flickr_url") or image.get("coco_url") or source,
            original_area_ratio=original / (size[0] * size[1]),
        )


def _objects(
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    size: tuple[int, int],
    photo: str,
) -> list[dict[str, Any]]:
    objects = []
    for annotation in annotations:
        corners = annotation["bbox"]
        if not isinstance(corners, list) or len(corners) != 4:
            raise BadData(f"{photo}: bbox {corners!r}, expected [x, y, width, height]")
        x, y, width, height = corners
        objects.append(
            boxed(
                names[annotation["category_id"]],
                (x, y, x + width, y + height),
                photo=photo,
                size=size,
                crowd=bool(annotation.get("iscrowd", 0)),
                area=annotation.get("area"),
            )
        )
    return objects
