"""MIAP: boxes of all persons of Open Images with perceived gender and age (Schumann et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlbias.data.gender_labels import GenderRule
from vlbias.data.people.persons import Layout, Person, Several, people_dataset
from vlbias.data.people.tables import first_file, number, photo_root, rows_of, value_in
from vlbias.data.table import Dataset

__all__ = ["read_miap"]

_GENDER = {
    "Predominantly Masculine": "masculine",
    "Predominantly Feminine": "feminine",
    "Unknown": "unsure",
}
_AGE = {"Young": "young", "Middle": "middle", "Older": "older", "Unknown": "unsure"}
_SPLIT = {"train": "fit", "val": "dev", "validation": "dev", "test": "test"}
_TERMS = (
    "allows use and passing on of the annotations with attribution (CC BY 4.0); photos of Open Images "
    "have a licence of their own each"
)


def read_miap(
    path: Path,
    rule: GenderRule | None = None,
    *,
    group: str = "gender",
    several: Several = "alike",
    images_anywhere: bool = False,
) -> Dataset:
    """Photos of Open Images with the boxes of MIAP, and groups gender or age.

    Reads every `open_images_extended_miap_boxes_{train,val,test}.csv` and `images/<ImageID>.jpg`. Boxes are
    shares of width and height. Rows of photos that are not there are left out.

    Args:
        path: Folder of the data set, or one of its CSV files.
        rule: Is not read: the groups come with the data.
        group: An attribute, or several joined by "×".
        several: What is done with photos of several persons.
        images_anywhere: Whether paths of photos may leave the folder.

    Raises:
        BadData: if a file or column is missing, or a value is malformed.
        UnknownName: if there is no such attribute.
    """
    folder = path.parent if path.is_file() else path
    first_file(path, "open_images_extended_miap_boxes_*.csv")
    files = [path] if path.is_file() else sorted(path.glob("open_images_extended_miap_boxes_*.csv"))
    root = photo_root(folder, "images", ".")
    persons = [one for file in files for one in _persons(file) if (root / one.photo).is_file()]
    layout = Layout("miap", "MIAP, Schumann et al. 2021", _TERMS)
    return people_dataset(
        persons,
        layout,
        image_root=root,
        group=group,
        several=several,
        images_anywhere=images_anywhere,
    )


def _persons(file: Path) -> Iterator[Person]:
    split = _SPLIT.get(file.stem.rpartition("_")[2], "")
    for where, row in rows_of(file):
        x0, x1, y0, y1 = (number(row, key, where) for key in ("XMin", "XMax", "YMin", "YMax"))
        attributes = {
            "gender": value_in(row, "GenderPresentation", where, _GENDER),
            "age": value_in(row, "AgePresentation", where, _AGE),
        }
        yield Person(
            f"{row['ImageID']}.jpg", attributes, (x0, y0, x1, y1), shares=True, split=split
        )
