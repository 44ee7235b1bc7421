"""Reader of PASCAL-Sentence: PASCAL VOC photos and boxes with five sentences per photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vlbias.data.gender_labels import GenderRule
from vlbias.data.photo_rows import Photo, boxed, labelled_rows
from vlbias.data.table import Dataset, make_dataset, split_of_name
from vlbias.errors import BadData

__all__ = ["CLASSES", "RECIPE", "read_pascal"]

RECIPE = "1"

CLASSES: tuple[str, ...] = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The twenty classes of PASCAL VOC, under their own names."""


def read_pascal(
    path: Path,
    rule: GenderRule = GenderRule(),  # noqa: B008 - frozen
    *,
    sentences: Path | None = None,
    sentences_per_image: int | None = 5,
    difficult: bool = True,
    people_only: bool = True,
) -> Dataset:
    """Photos of PASCAL-Sentence with sentences, boxes and the writers' perceived gender.

    Reads `JPEGImages/<name>.jpg`, `Annotations/<name>.xml` and one text file per photo,
    `sentences/<name>.txt` (also in folders below), one sentence a line. The text files say which
    photos belong to the set. VOC counts pixels from 1 with both ends inside; boxes become xyxy
    from 0 with the end outside. Splits go by the SHA-256 of the name, in shares 3 : 1 : 1.

    Args:
        path: Folder of the VOC layout.
        rule: How sentences become a perceived gender.
        sentences: Folder of the text files, if it is not `path/sentences`.
        sentences_per_image: Every photo must have so many; None allows any number.
        difficult: Whether objects that VOC marks as difficult are kept.
        people_only: Leave out photos without a person box.

    Raises:
        BadData: if files are missing, malformed or do not match, or a class is unknown; names
            them.
    """
    path = Path(path)
    folder = Path(sentences) if sentences is not None else path / "sentences"
    texts = _sentences(folder, sentences_per_image)
    _present(texts, path)
    photos = (_photo(name, lines, path, difficult) for name, lines in sorted(texts.items()))
    rows, funnel = labelled_rows(photos, rule, people_only=people_only)
    options: dict[str, Any] = {
        "sentences_per_image": sentences_per_image,
        "difficult": difficult,
        "people_only": people_only,
    }
    meta = {
        "reader": "pascal-sentence",
        "recipe": RECIPE,
        "source": "pascal-sentence",
        "rule": rule.spec(),
        "funnel": funnel.to_json(),
        "split_rule": "SHA-256 of the photo's name % 5: 0 test, 1 dev, else fit",
        "options": options,
    }
    return make_dataset(rows, image_root=path / "JPEGImages", classes=CLASSES, meta=meta)


def _sentences(folder: Path, count: int | None) -> dict[str, list[str]]:
    """Name of a photo to its sentences."""
    texts: dict[str, list[str]] = {}
    wrong: list[str] = []
    for file in sorted(folder.rglob("*.txt")):
        if file.stem in texts:
            raise BadData(f"{file}: a second file of sentences for photo {file.stem}; keep one")
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise BadData(f"{file} is not UTF-8 ({error}); convert it") from error
        texts[file.stem] = [" ".join(line.split()) for line in lines if line.strip()]
        if count is not None and len(texts[file.stem]) != count:
            wrong.append(f"{file.stem} ({len(texts[file.stem])})")
    if not texts:
        raise BadData(f"no sentences found; expected text files such as {folder}/2008_000123.txt")
    if wrong:
        raise BadData(
            f"{len(wrong)} photos have other than {count} sentences: {', '.join(wrong[:10])}; "
            "complete them, or set sentences_per_image"
        )
    return texts


def _present(texts: dict[str, list[str]], path: Path) -> None:
    for folder, ending in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        missing = [name for name in texts if not (path / folder / f"{name}.{ending}").is_file()]
        if missing:
            shown = ", ".join(f"{name}.{ending}" for name in missing[:10])
            raise BadData(
                f"{len(missing)} photos have sentences but no file in {path / folder}: {shown}"
            )


def _photo(name: str, lines: list[str], path: Path, difficult: bool) -> Photo:
    file = path / "Annotations" / f"{name}.xml"
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise BadData(f"{file} is no XML ({error}); fetch it again") from error
    size = (_number(root, "size/width", file), _number(root, "size/height", file))
    whole = (int(size[0]), int(size[1]))
    objects = [
        _object(element, file, whole)
        for element in root.findall("object")
        if difficult or element.findtext("difficult", "0").strip() != "1"
    ]
    return Photo(
        id=f"pascal-sentence/{name}",
        image=f"{name}.jpg",
        width=whole[0],
        height=whole[1],
        captions=lines,
        objects=objects,
        split=split_of_name(name),
        licence="see PASCAL VOC (Flickr terms)",
        source=root.findtext("source/image") or "PASCAL VOC",
    )


def _object(element: ElementTree.Element, file: Path, size: tuple[int, int]) -> dict[str, Any]:
    name = (element.findtext("name") or "").strip()
    if name not in CLASSES:
        raise BadData(f"{file}: class {name!r} is none of the twenty of PASCAL VOC")
    corners = [_number(element, f"bndbox/{key}", file) for key in ("xmin", "ymin", "xmax", "ymax")]
    xyxy = (corners[0] - 1, corners[1] - 1, corners[2], corners[3])
    return boxed(name, xyxy, photo=str(file), size=size)


def _number(element: ElementTree.Element, path: str, file: Path) -> float:
    text = element.findtext(path)
    try:
        return float(text or "")
    except ValueError as error:
        raise BadData(f"{file}: <{path}> is {text!r}, expected a number") from error
