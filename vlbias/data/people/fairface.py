"""FairFace: faces with perceived gender, race and age (Kärkkäinen and Joo 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlbias.data.gender_labels import GenderRule
from vlbias.data.people.persons import Layout, Person, Several, people_dataset
from vlbias.data.people.tables import first_file, photo_root, rows_of, value_in
from vlbias.data.table import Dataset

__all__ = ["read_fairface"]

_GENDER = {"Male": "masculine", "Female": "feminine"}
_RACES = (
    "White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern",
)  # fmt: skip
_AGES = (
    "0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70",
)  # fmt: skip
_TERMS = (
    "allows use and passing on with attribution (CC BY 4.0); labels are perceived, for evaluation and not "
    "to classify persons; photos are of YFCC-100M"
)


def read_fairface(
    path: Path,
    rule: GenderRule | None = None,
    *,
    group: str = "gender",
    several: Several = "alike",
    images_anywhere: bool = False,
) -> Dataset:
    """Faces of FairFace, with the harmful classes that none of them shows.

    Reads `fairface_label_{train,val}.csv`, whose column `file` names the photo ("val/1.jpg"). Attributes:
    gender, race, age. The file of training faces is split "fit", that of validation by the photos' names
    into "dev" and "test".

    Args:
        path: Folder of the data set, or one of its CSV files.
        rule: Is not read: the groups come with the data.
        group: An attribute, or several joined by "×".
        several: Has no meaning here: a photo shows one face.
        images_anywhere: Whether paths of photos may leave the folder.

    Raises:
        BadData: if a file or column is missing, or a value is malformed.
        UnknownName: if there is no such attribute.
    """
    first_file(path, "fairface_label_*.csv")
    files = [path] if path.is_file() else sorted(path.glob("fairface_label_*.csv"))
    persons = [one for file in files for one in _persons(file)]
    layout = Layout("fairface", "FairFace, Kärkkäinen and Joo 2021", _TERMS)
    return people_dataset(
        persons, layout, image_root=photo_root(path, "."), group=group, several=several,
        images_anywhere=images_anywhere,
    )  # fmt: skip


def _persons(file: Path) -> Iterator[Person]:
    races, ages = dict(zip(_RACES, _RACES, strict=True)), dict(zip(_AGES, _AGES, strict=True))
    for where, row in rows_of(file):
        attributes = {
            "gender": value_in(row, "gender", where, _GENDER),
            "race": value_in(row, "race", where, races),
            "age": value_in(row, "age", where, ages),
        }
        name = str(row["file"])
        split = "fit" if name.startswith("train/") else _held_out(name)
        yield Person(name, attributes, split=split)


def _held_out(name: str) -> str:
    """The split of a photo for validation, a half each, by its number."""
    digits = "".join(letter for letter in Path(name).stem if letter.isdigit())
    return ("dev", "test")[int(digits or 0) % 2]
