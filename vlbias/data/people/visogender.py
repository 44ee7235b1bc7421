"""VisoGender: persons at work, and their perceived gender (Hall et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlbias.data.gender_labels import GenderRule
from vlbias.data.people.persons import Layout, Person, Several, people_dataset
from vlbias.data.people.tables import photo_root, tab_rows, value_in
from vlbias.data.table import Dataset
from vlbias.errors import BadData

__all__ = ["read_visogender"]

_GENDER = {"masculine": "masculine", "feminine": "feminine", "neutral": "unsure", "": "unsure"}
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
_TERMS = (
    "allows evaluation with the annotations; forbids passing photos on, which stand at addresses of their "
    "owners"
)


def read_visogender(
    path: Path,
    rule: GenderRule | None = None,
    *,
    group: str = "gender",
    several: Several = "alike",
    images_anywhere: bool = False,
) -> Dataset:
    """Photos of VisoGender with their occupations as classes, and the perceived gender of who has it.

    Reads `*.tsv`: IDX, Sector, Specialisation, Occupation, and Object (one person) or Participant (two), with
    `Occupation_perceived_gender`. The set lists addresses of photos: they are read from `images/<IDX>.jpg` (or
    .png, .webp), and rows whose photo is not there are left out, since many addresses are dead. Attributes:
    gender, sector, and with two persons participant, the perceived gender of the other.

    Args:
        path: Folder of the data set, or one of its TSV files.
        rule: Is not read: the groups come with the data.
        group: An attribute, or several joined by "×".
        several: Has no meaning here: the row is of the person who has the occupation.
        images_anywhere: Whether paths of photos may leave the folder.

    Raises:
        BadData: if a file or column is missing, a value is malformed, or no photo is there.
        UnknownName: if there is no such attribute.
    """
    rows, root = tab_rows(path, "*.tsv", "data/*.tsv"), photo_root(path, "images")
    there = [(where, row, name) for where, row in rows if (name := _photo(root, row["IDX"]))]
    if not there:
        raise BadData(
            f"{root}: none of {len(rows)} photos is there; fetch them as images/<IDX>.jpg"
        )
    classes = sorted({row["Occupation"].strip() for _, row in rows})
    layout = Layout(
        "visogender", "VisoGender, Hall et al. 2023", _TERMS, classes,
        {"photos not there": len(rows) - len(there)},
    )  # fmt: skip
    return people_dataset(
        _persons(there), layout, image_root=root, group=group, several=several,
        images_anywhere=images_anywhere,
    )  # fmt: skip


def _photo(root: Path, index: str) -> str:
    return next((f"{index}{e}" for e in _ENDINGS if (root / f"{index}{e}").is_file()), "")


def _persons(there: list[tuple[str, dict[str, str], str]]) -> Iterator[Person]:
    for where, row, name in there:
        attributes = {
            "gender": value_in(row, "Occupation_perceived_gender", where, _GENDER),
            "sector": row["Sector"].strip(),
        }
        if "Participant_perceived_gender" in row:
            attributes["participant"] = value_in(
                row, "Participant_perceived_gender", where, _GENDER
            )
        yield Person(name, attributes, classes=[row["Occupation"].strip()])
