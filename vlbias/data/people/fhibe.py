"""FHIBE: consenting persons who told their pronouns, age and ancestry themselves (Xiang et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlbias.data.gender_labels import GenderRule
from vlbias.data.people.persons import Layout, Person, Several, people_dataset
from vlbias.data.people.tables import Rows, box_of_text, first_file, photo_root, rows_of
from vlbias.data.table import Dataset
from vlbias.data.text_files import parse_json
from vlbias.errors import BadData
from vlbias.files import hash_of_file

__all__ = ["read_fhibe"]

_FILES = ("data/processed/*.csv", "*.csv")
_PRONOUNS = {"she/her/hers": "feminine", "he/him/his": "masculine", "they/them/their": "non-binary"}
_TERMS = (
    "allows evaluation and mitigation of bias; forbids any other use, and passing photos on; persons can "
    "have themselves removed, so that versions differ (the hash says which)"
)


def read_fhibe(
    path: Path,
    rule: GenderRule | None = None,
    *,
    group: str = "gender",
    several: Several = "alike",
    images_anywhere: bool = False,
) -> Dataset:
    """Photos of FHIBE, and groups by what persons said of themselves.

    Reads a CSV in `data/processed`: columns `filepath`, `person_bbox` (x, y, width, height in pixels),
    `pronoun`, `age`, `ancestry`; several values stand in a list. Attributes: gender (by pronouns; several
    pronouns are "several pronouns"), age ("18-29", "30-49", "50+"), ancestry (several are "several").

    Args:
        path: Folder of the data set, or its CSV file.
        rule: Is not read: the groups come with the data.
        group: An attribute, or several joined by "×".
        several: What is done with photos of several persons.
        images_anywhere: Whether paths of photos may leave the folder.

    Raises:
        BadData: if a file or column is missing, or a value is malformed.
        UnknownName: if there is no such attribute.
    """
    file = first_file(path, *_FILES)
    layout = Layout(
        "fhibe", "FHIBE, Xiang et al. 2025", _TERMS, meta={"version": hash_of_file(file)}
    )
    return people_dataset(
        _persons(rows_of(file)), layout, image_root=photo_root(path, "."), group=group,
        several=several, images_anywhere=images_anywhere,
    )  # fmt: skip


def _persons(rows: Rows) -> Iterator[Person]:
    for where, row in rows:
        lacking = [k for k in ("filepath", "person_bbox", "pronoun", "age") if k not in row]
        if lacking:
            raise BadData(f"{where}: no column {', '.join(lacking)}; it has {', '.join(row)}")
        pronouns = [_PRONOUNS.get(one, "unsure") for one in _values(row["pronoun"], where)]
        ancestry = _values(row.get("ancestry", ""), where)
        attributes = {
            "gender": pronouns[0] if len(pronouns) == 1 else "several pronouns",
            "age": _age(row["age"], where),
            "ancestry": ancestry[0] if len(ancestry) == 1 else "several" if ancestry else "unsure",
        }
        x, y, width, height = box_of_text(row["person_bbox"], where)
        yield Person(row["filepath"], attributes, (x, y, x + width, y + height))


def _values(cell: Any, where: str) -> list[str]:
    """Values of a cell: a list as text, or one value; numbers in front ("0. She/her/hers") are left out."""
    text = str(cell).strip()
    values = parse_json(text.replace("'", '"'), where) if text.startswith("[") else [text]
    plain = [str(value).partition(". ")[2] or str(value) for value in values]
    return [value.strip().lower() for value in plain if value.strip()]


def _age(cell: Any, where: str) -> str:
    text = str(cell).strip()
    if not text.replace(".", "", 1).isdigit():
        raise BadData(f"{where}, age: {text!r}, expected a number of years")
    years = float(text)
    return "18-29" if years < 30 else "30-49" if years < 50 else "50+"
