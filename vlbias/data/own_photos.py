"""Reader of your own photos: a CSV or JSONL file with images, captions, labels and any groups."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from vlbias.data.gender_labels import GenderRule, perceived_gender
from vlbias.data.photo_rows import boxed
from vlbias.data.table import Dataset, make_dataset, split_of_name
from vlbias.errors import BadData

__all__ = ["COLUMNS", "RECIPE", "read_own"]

RECIPE = "1"

COLUMNS = (
    "id", "cluster", "image", "text", "captions", "labels", "group", "split", "boxes", "licence",
    "source",
)  # fmt: skip
"""Columns that are read; others are left alone."""


def read_own(
    path: Path,
    rule: GenderRule | None = None,
    *,
    image_root: Path | None = None,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Your photos with groups from a column, or perceived gender from their captions.

    One row per photo. Columns: `image` (path), `labels` (classes that are present; in CSV
    separated by ";"), and optionally `group` (any names, any number), `text` (one caption) or
    `captions` (a list; in CSV a JSON list), `boxes` (a list of [class, x0, y0, x1, y1] in pixels
    of the file; in CSV as JSON), `split`, `id`, `cluster`, `licence`, `source`. Without a split
    the SHA-256 of the id decides, in shares 3 : 1 : 1.

    Args:
        path: File ending in .csv, .jsonl or .ndjson.
        rule: Needed, and only read, where there is no group column.
        image_root: Folder of the photos; that of the file by default.
        columns: Name used here to the name in the file, where they differ.
        classes: All classes in their order; by default those that occur, sorted.

    Raises:
        BadData: if the file, a column or a value is missing or malformed; names the rows.
    """
    path = Path(path)
    root = Path(image_root) if image_root is not None else path.parent
    names = {**{name: name for name in COLUMNS}, **(columns or {})}
    whole = _records(path)
    records = [
        {name: record[column] for name, column in names.items() if column in record}
        for record in whole
    ]
    unread = sorted({column for record in whole for column in record} - set(names.values()))
    if not records:
        raise BadData(f"{path} has no rows")
    given = all("group" in record for record in records)
    _check(path, records, given, rule)
    rows = [
        _row(f"{path.name} row {number}", record, root, None if given else rule)
        for number, record in enumerate(records, start=1)
    ]
    found = sorted({name for row in rows for name in row["present"]})
    labels = {"name": "given", "column": names["group"]} if given or rule is None else rule.spec()
    meta = _meta(path, rows, labels, columns or {}) | {"unread": unread}
    return make_dataset(rows, image_root=root, classes=classes or found, meta=meta)


def _meta(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Any],
    columns: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "reader": "own",
        "recipe": RECIPE,
        "source": path.name,
        "rule": dict(labels),
        "funnel": {"steps": {"images": len(rows)}, "groups": _count(rows), "dropped": {}},
        "split_rule": "column split, or SHA-256 of the id % 5: 0 test, 1 dev, else fit",
        "options": {"columns": dict(columns)},
    }


def _count(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    groups = [row["group"] for row in rows]
    return {group: groups.count(group) for group in sorted(set(groups))}


def _records(path: Path) -> list[dict[str, Any]]:
    if path.suffix not in (".csv", ".jsonl", ".ndjson"):
        raise BadData(f"{path}: expected a file ending in .csv, .jsonl or .ndjson")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BadData(f"{path} not found") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8 ({error}); convert it") from error
    if path.suffix == ".csv":
        reader = csv.DictReader(text.splitlines(keepends=True), restkey="", strict=True)
        records = [dict(record) for record in reader]
        broken = [i for i, r in enumerate(records, 1) if "" in r or None in r.values()]
        if broken:
            raise BadData(f"{path}: rows {broken[:10]} have more or fewer cells than the header")
        return records
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            record = _json(line, f"{path.name} line {number}")
            if not isinstance(record, dict):
                raise BadData(f"{path.name} line {number}: expected a JSON object")
            records.append(record)
    return records


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadData(f"{where}: {text[:60]!r} is no JSON ({error})") from error


def _check(
    path: Path, records: Sequence[Mapping[str, Any]], given: bool, rule: GenderRule | None
) -> None:
    for name in ("image", *(("group",) if any("group" in r for r in records) else ())):
        empty = [i for i, r in enumerate(records, 1) if not str(r.get(name) or "").strip()]
        if empty:
            raise BadData(f"{path}: column {name!r} is missing or empty in rows {empty[:10]}")
    if not any("labels" in r or "boxes" in r for r in records):
        raise BadData(f"{path}: expected a column labels or boxes; got {sorted(records[0])}")
    if given:
        return
    if rule is None:
        raise BadData(
            f"{path}: no column group; add one, name it in columns, or give a label rule that "
            "reads perceived gender from captions"
        )
    if rule.single_person or rule.min_person_area is not None or rule.dominance is not None:
        raise BadData(
            f"{path}: rule {rule.name!r} needs person boxes, which this reader leaves out"
        )


def _row(
    where: str, record: Mapping[str, Any], root: Path, rule: GenderRule | None
) -> dict[str, Any]:
    image = str(record["image"]).strip()
    size = _size(root / image, where)
    objects = _boxes(record.get("boxes"), where, size)
    captions = _captions(record, where)
    labels = set(_list(record.get("labels"), ";", f"{where}, labels"))
    if rule is not None and len(captions) <= rule.held_out:
        raise BadData(
            f"{where}: {len(captions)} captions, expected more than the {rule.held_out} that "
            f"rule {rule.name!r} holds out"
        )
    name = str(record.get("id") or image)
    return {
        "id": name,
        "cluster": str(record.get("cluster") or name),
        "image": image,
        "width": size[0],
        "height": size[1],
        "captions": captions,
        "objects": objects,
        "present": sorted(labels | {entry["class"] for entry in objects}),
        "group": perceived_gender(captions, rule) if rule else str(record["group"]).strip(),
        "split": str(record.get("split") or split_of_name(name)).strip(),
        "licence": str(record.get("licence") or ""),
        "source": str(record.get("source") or ""),
    }


def _size(path: Path, where: str) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError as error:
        raise BadData(f"{where}: image file not found: {path}") from error
    except (UnidentifiedImageError, OSError) as error:
        raise BadData(f"{where}: image file cannot be read: {path} ({error})") from error


def _captions(record: Mapping[str, Any], where: str) -> list[str]:
    if record.get("text"):
        return [str(record["text"])]
    value = record.get("captions")
    if isinstance(value, str) and value.strip():
        value = _json(value, f"{where}, captions")
    return _list(value, None, f"{where}, captions")


def _list(value: Any, separator: str | None, where: str) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str) and separator:
        return [part.strip() for part in value.split(separator) if part.strip()]
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise BadData(f"{where}: got {value!r}, expected a list of strings")
    return value


def _boxes(value: Any, where: str, size: tuple[int, int]) -> list[dict[str, Any]]:
    if isinstance(value, str):
        value = _json(value, f"{where}, boxes") if value.strip() else []
    entries = []
    for box in value or []:
        if not isinstance(box, list) or len(box) != 5 or not isinstance(box[0], str):
            raise BadData(f"{where}: box {box!r}, expected [class, x0, y0, x1, y1]")
        if not all(isinstance(x, int | float) for x in box[1:]):
            raise BadData(f"{where}: box {box!r}, expected four numbers after the class")
        entries.append(boxed(box[0], box[1:], photo=where, size=size))
    return entries
