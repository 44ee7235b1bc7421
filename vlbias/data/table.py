"""The canonical table of a data set: a row per photo, examples.parquet beside examples.json."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vlbias.causal.image_file import refuse_outside
from vlbias.data.lexicon import lexicon_hash
from vlbias.data.spellings import refuse_spellings
from vlbias.data.text_files import read_json
from vlbias.errors import BadData
from vlbias.files import whole, write_json

__all__ = [
    "SCHEMA",
    "SPLITS",
    "Dataset",
    "licence_notes",
    "load_dataset_table",
    "make_dataset",
    "save_dataset",
    "split_of_name",
    "split_of_number",
]

TABLE_VERSION = 1
SPLITS = ("fit", "dev", "test")

_OBJECT = pa.struct(
    [
        ("class", pa.string()),
        *((side, pa.float64()) for side in ("x0", "y0", "x1", "y1")),
        ("crowd", pa.bool_()),
        ("area", pa.float64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),
        ("image", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("captions", pa.list_(pa.string())),
        ("objects", pa.list_(_OBJECT)),
        ("present", pa.list_(pa.string())),
        ("group", pa.string()),
        ("split", pa.string()),
        ("licence", pa.string()),
        ("source", pa.string()),
    ]
)
"""Boxes are xyxy in pixels of the file, area is the annotated one scaled to the file, in px²."""
_NEAREST = pa.field(
    "nearest", pa.list_(pa.struct([("class", pa.string()), ("group", pa.string())]))
)
"""The group of the person nearest to the objects of a class; a column only where persons have groups."""


@dataclass(frozen=True)
class Dataset:
    """Photos with captions, boxes and a group, ready to become examples.

    Args:
        frame: One row per photo with the columns of `SCHEMA`, sorted by id; lists are Python lists. `nearest`
            beside them where single persons have groups: entries {"class": …, "group": …}.
        image_root: Folder that the `image` column is relative to.
        classes: All class names in their fixed order.
        meta: Reader, recipe version, label rule, lexicon hash and funnel, as in examples.json.
        content_hash: SHA-256 of the rows and classes; photos themselves are not read for it.
    """

    frame: pd.DataFrame
    image_root: Path
    classes: tuple[str, ...]
    meta: Mapping[str, Any]
    content_hash: str


def split_of_number(number: int) -> str:
    """The split of a photo by its number: rest 0 of 5 is "test", 1 is "dev", else "fit"."""
    return {0: "test", 1: "dev"}.get(number % 5, "fit")


def split_of_name(name: str) -> str:
    """The split of a photo without a number, by the SHA-256 of its name; the same shares."""
    return split_of_number(int(hashlib.sha256(name.encode()).hexdigest(), 16))


def make_dataset(
    rows: Sequence[Mapping[str, Any]],
    *,
    image_root: Path,
    classes: Sequence[str],
    meta: Mapping[str, Any],
    images_anywhere: bool = False,
) -> Dataset:
    """The data set of the given rows, checked and sorted by id.

    Args:
        rows: A dictionary per photo, with the columns of `SCHEMA`.
        image_root: Folder of the photos.
        classes: All class names in their order.
        meta: About the data; goes into examples.json.
        images_anywhere: Whether paths of photos may leave that folder.

    Raises:
        BadData: if there is no row, ids repeat, or splits, groups, classes or listed image files are
            not what they should be; names the offenders.
    """
    if not rows:
        raise BadData("no photo is left; check the path and the rule")
    names = [field.name for field in SCHEMA]
    if any("nearest" in row for row in rows):
        names.append("nearest")
        rows = [{"nearest": [], **row} for row in rows]
    frame = pd.DataFrame([{name: row[name] for name in names} for row in rows], columns=names)
    frame = frame.sort_values("id", ignore_index=True)
    known = set(classes)
    _refuse("ids that repeat", frame["id"][frame["id"].duplicated()])
    _refuse(f"splits that are none of {SPLITS}", frame["split"][~frame["split"].isin(SPLITS)])
    _refuse(
        "classes that are not in the list of classes",
        sorted({name for present in frame["present"] for name in present} - known),
    )
    if len(known) != len(classes):
        raise BadData(f"class names repeat: {sorted(classes)}")
    refuse_spellings(frame["group"], classes)
    if not images_anywhere:
        refuse_outside(image_root, list(frame["image"]))
    _refuse(
        f"image files that are missing under {image_root}",
        [name for name in frame["image"] if not (image_root / name).is_file()],
    )
    full = {"table_version": TABLE_VERSION, "lexicon": lexicon_hash(), **meta}
    return Dataset(frame, image_root, tuple(classes), full, _content_hash(frame, classes))


def _refuse(what: str, offenders: Sequence[Any] | pd.Series) -> None:
    found = list(offenders)
    if found:
        shown = ", ".join(map(str, found[:10])) + (" …" if len(found) > 10 else "")
        raise BadData(f"{len(found)} {what}: {shown}")


def _content_hash(frame: pd.DataFrame, classes: Sequence[str]) -> str:
    rows = [json.dumps(row, sort_keys=True) for row in frame.to_dict("records")]
    text = "\n".join([json.dumps(list(classes)), *rows])
    return hashlib.sha256(text.encode()).hexdigest()


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write examples.parquet and examples.json into a folder, which is made if need be.

    The image folder is noted relative to `path`, so both can move together.
    """
    path.mkdir(parents=True, exist_ok=True)
    about = {
        **dataset.meta,
        "image_root": Path(os.path.relpath(dataset.image_root, path)).as_posix(),
        "classes": list(dataset.classes),
        "content_hash": dataset.content_hash,
    }
    schema = SCHEMA.append(_NEAREST) if "nearest" in dataset.frame else SCHEMA
    table = pa.Table.from_pylist(dataset.frame.to_dict("records"), schema=schema)
    with whole(path / "examples.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
    write_json(path / "examples.json", about)


def load_dataset_table(
    path: Path, *, image_root: Path | None = None, images_anywhere: bool = False
) -> Dataset:
    """The data set that `save_dataset` wrote.

    Args:
        path: The folder, or its examples.parquet.
        image_root: Where the photos are, if they moved since.
        images_anywhere: Whether paths of photos may leave that folder.

    Raises:
        BadData: if a file is missing or unreadable, if the rows are not those that were saved, or if
            photos are elsewhere.
    """
    folder = path.parent if path.suffix == ".parquet" else path
    for name in ("examples.parquet", "examples.json"):
        if not (folder / name).is_file():
            raise BadData(f"{folder / name} not found; write it with the prepare script")
    try:
        about = read_json(folder / "examples.json", "prepare it again")
        table = pq.read_table(folder / "examples.parquet")
    except pa.ArrowInvalid as error:
        raise BadData(f"{folder} cannot be read ({error}); prepare it again") from error
    if about.get("table_version") != TABLE_VERSION or not any(
        table.schema.equals(schema) for schema in (SCHEMA, SCHEMA.append(_NEAREST))
    ):
        raise BadData(
            f"{folder}: table version {about.get('table_version')} with columns "
            f"{table.schema.names}, expected version {TABLE_VERSION}; prepare it again"
        )
    frame = pd.DataFrame({name: table[name].to_pylist() for name in table.schema.names})
    classes, stored = tuple(about.pop("classes")), about.pop("content_hash")
    if _content_hash(frame, classes) != stored:
        raise BadData(f"{folder}: the rows are not those that were saved; prepare it again")
    root = image_root or Path(os.path.normpath(folder / about["image_root"]))
    del about["image_root"]
    if not images_anywhere:
        refuse_outside(root, list(frame["image"]))
    return Dataset(frame, root, classes, about, stored)


def licence_notes(dataset: Dataset) -> str:
    """A note for beside the table: photos per licence, and what the labels mean."""
    counts = dataset.frame["licence"].value_counts().sort_index()
    lines = [f"- {licence or 'licence not given'}: {n} photos" for licence, n in counts.items()]
    perceived = (
        "Column `group` holds perceived gender: the word choices of captioners, binary where\n"
        "they are, and no statement about anyone's identity. It was read from human captions\n"
        "by the rule in examples.json; no image classifier was used."
    )
    given = "Column `group` was given with the data."
    labels = given if dataset.meta["rule"]["name"] == "given" else perceived
    head = "# Licences and labels of this table\n\nNo photo is copied here. "
    return f"{head}Licences (column `licence`):\n\n" + "\n".join([*lines, "", labels, ""])
