"""PHASE: persons of web photos with votes on gender, skin, age and ethnicity (Garcia et al. 2023)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlbias.data.gender_labels import GenderRule
from vlbias.data.people.persons import Layout, Person, Several, majority, people_dataset
from vlbias.data.people.tables import first_file, photo_root
from vlbias.data.table import Dataset
from vlbias.data.text_files import read_json
from vlbias.errors import BadData

__all__ = ["read_phase"]

_FILES = ("phase_gcc_val_all_*.json", "phase_gcc_train_all_*.json")
_GENDER = {"man": "masculine", "woman": "feminine", "male": "masculine", "female": "feminine"}
_TERMS = "allows research; photos of Google Conceptual Captions have rights of their own and are not passed on"


def read_phase(
    path: Path,
    rule: GenderRule | None = None,
    *,
    group: str = "gender",
    several: Several = "alike",
    images_anywhere: bool = False,
) -> Dataset:
    """Photos of PHASE, and groups by the majority of annotators.

    Reads `phase_gcc_{train,val}_all_*.json`: name of a photo to its persons and, beside them, `caption`. A
    person has `region`, two corners in pixels of the photo, and `annotations`, one object per annotator with
    attributes such as gender, skin and age. A photo's name without an ending is that of a .jpg.

    Args:
        path: Folder of the data set, or one of its JSON files.
        rule: Is not read: the groups come with the data.
        group: An attribute, or several joined by "×".
        several: What is done with photos of several persons.
        images_anywhere: Whether paths of photos may leave the folder.

    Raises:
        BadData: if a file is missing, or a person is malformed.
        UnknownName: if there is no such attribute.
    """
    first_file(path, *_FILES)
    files = [path] if path.is_file() else sorted(f for name in _FILES for f in path.glob(name))
    root = photo_root(path, "images", ".")
    persons = [one for file in files for one in _persons(file, root)]
    layout = Layout("phase", "PHASE, Garcia et al. 2023", _TERMS)
    return people_dataset(
        persons,
        layout,
        image_root=root,
        group=group,
        several=several,
        images_anywhere=images_anywhere,
    )


def _persons(file: Path, root: Path) -> Iterator[Person]:
    split = "fit" if "_train_" in file.name else ""
    for name, photo in read_json(file).items():
        image = name if Path(name).suffix else f"{name}.jpg"
        if not (root / image).is_file():
            continue  # many addresses of Conceptual Captions are dead
        for key, person in photo.items():
            if key != "caption":
                yield _person(image, person, f"{file.name}, {name}, person {key}", split)


def _person(image: str, person: Mapping[str, Any], where: str, split: str) -> Person:
    try:
        region, annotations = list(person["region"]), list(person["annotations"])
        corners = [float(side) for side in region]
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(
            f"{where}: expected region (four numbers) and annotations ({error})"
        ) from error
    if len(corners) != 4:
        raise BadData(f"{where}: region {region}, expected x0, y0, x1, y1 in pixels")
    votes: dict[str, Counter[str]] = {}
    for annotation in annotations:
        for attribute, value in annotation.items():
            said = str(value).strip().lower()
            votes.setdefault(attribute, Counter())[_GENDER.get(said, said)] += 1
    attributes = {name: majority(counts) for name, counts in votes.items()}
    x0, y0, x1, y1 = corners
    return Person(image, attributes, (x0, y0, x1, y1), split=split)
