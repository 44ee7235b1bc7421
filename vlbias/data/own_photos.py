"""Reader of your own photos: a CSV or JSONL file with images, captions, labels and any groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vlbias.causal.image_file import Frame, frame_of, refuse_outside
from vlbias.data.gender_labels import GenderRule, not_english, perceived_gender
from vlbias.data.nearest_person import nearest_groups
from vlbias.data.own_row import OwnRow, read_row
from vlbias.data.photo_rows import boxed, shown_objects
from vlbias.data.schema import Positive, checked, is_blank
from vlbias.data.table import Dataset, make_dataset, split_of_name
from vlbias.data.text_files import Record, read_records
from vlbias.errors import BadData, BadStudy

__all__ = ["COLUMNS", "RECIPE", "read_own"]

RECIPE = "1"

COLUMNS = tuple(OwnRow.model_fields)
"""Columns that are read; others are left alone."""


def read_own(
    path: Path,
    rule: GenderRule | None = None,
    *,
    image_root: Path | None = None,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    images_anywhere: bool = False,
    several: Literal["", "nearest"] = "",
) -> Dataset:
    """Your photos with groups from a column, or perceived gender from their captions.

    One row per photo. Columns: `image` (path), `labels` (classes that are present; in CSV
    separated by ";", or a JSON list), and optionally `group` (any names, any number), `text` (one
    caption) or `captions` (a list; in CSV a JSON list), `boxes` (a list of [class, x0, y0, x1, y1] in
    pixels of the photo as it is shown; in CSV as JSON; a person's may have a sixth entry, this person's
    group), `split`, `id`, `cluster`, `licence`, `source`.
    Without a split the SHA-256 of the id decides, in shares 3 : 1 : 1. Boxes of a photo that its EXIF
    orientation turns may be drawn on it as it lies in the file, where columns `width` and `height` say so.

    Args:
        path: File ending in .csv, .jsonl or .ndjson.
        rule: Needed, and only read, where there is no group column.
        image_root: Folder of the photos; that of the file by default.
        columns: Name used here to the name in the file, where they differ.
        classes: All classes in their order; by default those that occur, sorted.
        images_anywhere: Whether paths of photos may leave that folder.
        several: "nearest" needs persons with groups of their own; see `vlbias.data.nearest_person`.

    Raises:
        BadStudy: for another way with several persons.
        BadData: if the file, a column or a value is missing or malformed; names the rows.
    """
    if several not in ("", "nearest"):
        raise BadStudy(
            "dataset.several", several, "'nearest': your own table says who is in which group"
        )
    path = Path(path)
    root = Path(image_root) if image_root is not None else path.parent
    names = {**{name: name for name in COLUMNS}, **(columns or {})}
    whole = read_records(path)
    records = [
        Record(number, {name: values[at] for name, at in names.items() if at in values})
        for number, values in whole
    ]
    unread = sorted({at for record in whole for at in record.values if at} - set(names.values()))
    if not records:
        raise BadData(f"{path} has no rows")
    given = all("group" in record.values for record in records)
    _check(path, records, given, rule)
    what = "row" if path.suffix == ".csv" else "line"
    read = [
        (where := f"{path.name} {what} {number}", read_row(values, where, classes or ()))
        for number, values in records
    ]
    if not images_anywhere:
        refuse_outside(root, [row.image for _, row in read])
    rows = [_row(where, row, root, None if given else rule) for where, row in read]
    found = sorted({name for row in rows for name in row["present"]})
    if not found and not classes:
        raise BadData(f"{path}: no photo has a class; fill the column labels or boxes")
    labels = {"name": "given", "column": names["group"]} if given or rule is None else rule.spec()
    meta = _meta(path, rows, labels, columns or {}) | {"unread": unread}
    foreign = 0 if given or rule is None else sum(not_english(r["captions"], rule) for r in rows)
    if foreign:
        meta["funnel"]["captions"] = {"not English": foreign}
    return make_dataset(
        rows,
        image_root=root,
        classes=classes or found,
        meta=meta,
        images_anywhere=images_anywhere,
    )


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


def _check(path: Path, records: Sequence[Record], given: bool, rule: GenderRule | None) -> None:
    keys = {name for record in records for name in record.values}
    for name in ("image", *(("group",) if "group" in keys else ())):
        empty = [r.number for r in records if is_blank(r.values.get(name))]
        if empty:
            raise BadData(f"{path}: column {name!r} is missing or empty in rows {empty[:10]}")
    if not keys & {"labels", "boxes"}:
        raise BadData(f"{path}: expected a column labels or boxes; got {sorted(records[0].values)}")
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


def _row(where: str, read: OwnRow, root: Path, rule: GenderRule | None) -> dict[str, Any]:
    frame = _frame(root / read.image, where)
    objects = _boxes(read, where, frame)
    nearest = nearest_groups(objects)
    captions = list(read.captions) if read.text is None else [read.text]
    if rule is not None and len(captions) <= rule.held_out:
        raise BadData(
            f"{where}: {len(captions)} captions, expected more than the {rule.held_out} that "
            f"rule {rule.name!r} holds out"
        )
    name = read.image if read.id is None else read.id
    return {
        "id": name,
        "cluster": name if read.cluster is None else read.cluster,
        "image": read.image,
        "width": frame.size[0],
        "height": frame.size[1],
        "captions": captions,
        "objects": [{k: v for k, v in entry.items() if k != "group"} for entry in objects],
        **({"nearest": nearest} if nearest else {}),
        "present": sorted({*read.labels, *(entry["class"] for entry in objects)}),
        "group": perceived_gender(captions, rule) if rule else (read.group or "").strip(),
        "split": split_of_name(name) if read.split is None else read.split.strip(),
        "licence": read.licence or "",
        "source": read.source or "",
    }


def _frame(path: Path, where: str) -> Frame:
    try:
        return frame_of(path)
    except BadData as error:
        raise BadData(f"{where}: {error}") from error


def _boxes(read: OwnRow, where: str, frame: Frame) -> list[dict[str, Any]]:
    """The boxes on the photo as it is shown; columns width and height tell what they were drawn on."""
    size = frame.size
    if frame.is_sideways and not is_blank(read.width) and not is_blank(read.height):
        given = _side(read.width, where, "width"), _side(read.height, where, "height")
        size = frame.stored if frame.holds(given) else size
    try:
        entries = [
            boxed(name, xyxy, photo=where, size=size) | ({"group": group.strip()} if group else {})
            for name, *xyxy, group in read.boxes
        ]
    except BadData as error:
        if not frame.is_sideways:
            raise
        raise BadData(
            f"{error}. The photo is turned by its EXIF orientation: give columns width and height of the "
            "photo that boxes were drawn on"
        ) from error
    return shown_objects(entries, frame, size) if size != frame.size else entries


def _side(value: Any, where: str, column: str) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = value
    return checked(Positive, number, f"{where}, column {column!r}")
