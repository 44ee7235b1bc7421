"""FACET: persons with classes, boxes, and votes on gender, skin tone and age (Gustafson et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlbias.data.gender_labels import GenderRule
from vlbias.data.people.persons import Layout, Person, Several, majority, people_dataset
from vlbias.data.people.tables import box_of_text, number, photo_root, rows_of
from vlbias.data.table import Dataset

__all__ = ["read_facet"]

_GENDER = {"masc": "masculine", "fem": "feminine", "non_binary": "non-binary", "na": "unsure"}
_AGES = ("young", "middle", "older")
_TERMS = "allows evaluation; forbids training, and passing photos or annotations on"


def read_facet(
    path: Path,
    rule: GenderRule | None = None,
    *,
    group: str = "gender",
    several: Several = "alike",
    images_anywhere: bool = False,
) -> Dataset:
    """Photos of FACET with the classes of their persons, and groups by the majority of votes.

    Reads `annotations/annotations.csv` (or `annotations.csv`) and the photos beside it. Attributes: gender,
    skin ("lighter" for Monk tones 1 to 4, "medium" 5 and 6, "darker" 7 to 10, by most votes), age.

    Args:
        path: Folder of the data set.
        rule: Is not read: the groups come with the data.
        group: An attribute, or several joined by "×".
        several: What is done with photos of several persons.
        images_anywhere: Whether paths of photos may leave the folder.

    Raises:
        BadData: if a file or column is missing, or a value is malformed.
        UnknownName: if there is no such attribute.
    """
    rows = rows_of(path, "annotations/annotations.csv", "annotations.csv")
    classes = sorted({row[k] for _, row in rows for k in ("class1", "class2") if row.get(k, "")})
    layout = Layout("facet", "FACET, Gustafson et al. 2023", _TERMS, classes)
    return people_dataset(
        _persons(rows), layout, image_root=photo_root(path, "images", "imgs", "."), group=group,
        several=several, images_anywhere=images_anywhere,
    )  # fmt: skip


def _persons(rows: list[tuple[str, dict[str, str]]]) -> Iterator[Person]:
    for where, row in rows:
        gender = {
            value: number(row, f"gender_presentation_{name}", where)
            for name, value in _GENDER.items()
        }
        tones = {"lighter": range(1, 5), "medium": range(5, 7), "darker": range(7, 11)}
        skin = {
            value: sum(number(row, f"skin_tone_{tone}", where) for tone in some)
            for value, some in tones.items()
        }
        age = {value: number(row, f"age_presentation_{value}", where) for value in _AGES}
        x, y, width, height = box_of_text(row["bounding_box"], where)
        yield Person(
            row["filename"],
            {"gender": majority(gender), "skin": majority(skin), "age": majority(age)},
            (x, y, x + width, y + height),
            classes=[row[k] for k in ("class1", "class2") if row.get(k, "")],
        )
