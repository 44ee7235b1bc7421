"""Reader of MSCOCO: the official layout, or one folder with instances.json and captions.json."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlbias.causal.image_file import refuse_outside
from vlbias.data.coco_schema import Caption, Instance, Instances, read_captions, read_instances
from vlbias.data.gender_labels import GenderRule
from vlbias.data.photo_rows import Photo, boxed, drawn_on, labelled_rows, shown_objects
from vlbias.data.spellings import refuse_spellings
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
    images_anywhere: bool = False,
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
        images_anywhere: Whether names of photos may lead out of their folder.

    Raises:
        BadData: if files are missing, ids repeat or do not match between the files, a category
            is unknown, or a box is not in its photo; names them.
    """
    path = Path(path)
    files = _find(path, subset)
    instances, captions = read_instances(files.instances), read_captions(files.captions)
    source = (
        f"coco-{files.subset}" if files.subset else f"coco-{_subset_of(instances) or path.name}"
    )
    if not images_anywhere:
        refuse_outside(files.images, [image["file_name"] for image in instances["images"]])
    photos = list(_photos(instances, captions, files, source))
    classes = [category["name"] for category in instances["categories"]]
    refuse_spellings((), classes)  # before photos without a "person" are left out
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
    return make_dataset(
        rows,
        image_root=files.images,
        classes=classes,
        meta=meta,
        images_anywhere=images_anywhere,
    )


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


def _subset_of(instances: Instances) -> str | None:
    """The subset in a photo's address, as in ".../val2017/000000000139.jpg", if it has one."""
    parts = instances["images"][0].get("coco_url", "").split("/") if instances["images"] else []
    return parts[-2] if len(parts) > 2 else None


def _unique(ids: Iterable[int], what: str, file: Path) -> None:
    twice = [i for i, n in Counter(ids).items() if n > 1]
    if twice:
        raise BadData(f"{file}: {what} ids that repeat: {_few(twice)}")


def _few(ids: Iterable[Any]) -> str:
    listed = sorted(ids)
    return ", ".join(map(str, listed[:10])) + (
        f" … ({len(listed)} in all)" if len(listed) > 10 else ""
    )


def _check(instances: Instances, captions: Sequence[Caption], files: _Files) -> dict[int, str]:
    """Category id to name, once both files are known to belong together."""
    for what, content, file in (
        ("image", [x["id"] for x in instances["images"]], files.instances),
        ("annotation", [x["id"] for x in instances["annotations"]], files.instances),
        ("category", [x["id"] for x in instances["categories"]], files.instances),
        ("caption", [x["id"] for x in captions], files.captions),
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
    captioned = {c["image_id"] for c in captions}
    if captioned != images:
        raise BadData(
            f"{files.captions} does not match {files.instances}: captions without image "
            f"{_few(captioned - images) or 'none'}; images without caption "
            f"{_few(images - captioned) or 'none'}; use files of the same subset"
        )
    return names


def _photos(
    instances: Instances, captions: Sequence[Caption], files: _Files, source: str
) -> Iterator[Photo]:
    names = _check(instances, captions, files)
    licences = {entry["id"]: entry["name"] for entry in instances.get("licenses", ())}
    boxes: dict[int, list[Instance]] = defaultdict(list)
    for annotation in instances["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    sentences: dict[int, list[str]] = defaultdict(list)
    for caption in sorted(captions, key=lambda c: c["id"]):
        sentences[caption["image_id"]].append(" ".join(caption["caption"].split()))
    for image in instances["images"]:
        number, size = image["id"], (image["width"], image["height"])
        original = image.get("orig_width", size[0]) * image.get("orig_height", size[1])
        name = f"{source}/{number}"
        objects = _objects(boxes[number], names, size, name)
        frame = drawn_on(files.images / image["file_name"], size)
        if frame is not None:
            objects, size = shown_objects(objects, frame, size), size[::-1]
        yield Photo(
            id=name,
            image=image["file_name"],
            width=size[0],
            height=size[1],
            captions=sentences[number],
            objects=objects,
            split=split_of_number(number),
            licence=licences.get(image.get("license")) or "",
            source=image.get("flickr_url") or image.get("coco_url") or source,
            original_area_ratio=original / (size[0] * size[1]),
        )


def _objects(
    annotations: Sequence[Instance],
    names: Mapping[int, str],
    size: tuple[int, int],
    photo: str,
) -> list[dict[str, Any]]:
    objects = []
    for annotation in annotations:
        x, y, width, height = annotation["bbox"]
        objects.append(
            boxed(
                names[annotation["category_id"]],
                (x, y, x + width, y + height),
                photo=photo,
                size=size,
                crowd=annotation.get("iscrowd", False),
                area=annotation.get("area"),
            )
        )
    return objects
