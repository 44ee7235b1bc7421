"""COCO with perceived gender and skin tone of persons, by annotators and not by captions (Zhao et al. 2021)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vlbias.data.coco import read_coco
from vlbias.data.gender_labels import RULES, GenderRule
from vlbias.data.people.persons import attributes_of
from vlbias.data.people.tables import first_file, rows_of, value_in
from vlbias.data.table import Dataset, make_dataset
from vlbias.errors import BadData, UnknownName

__all__ = ["read_coco_zhao"]

_GENDER = {"Male": "masculine", "Female": "feminine"}
_SKIN = {"Light": "lighter", "Dark": "darker"}
_UNSURE = ("Unsure", "Both", "unsure", "both", "nan", "")
_FILES = ("images_val2014.csv", "annotations/images_val2014.csv")
_TERMS = "allows research, on request; forbids passing the annotations on, and classifying persons by them"


def read_coco_zhao(
    path: Path,
    rule: GenderRule | None = None,
    *,
    group: str = "gender",
    images_anywhere: bool = False,
) -> Dataset:
    """Photos, captions and boxes of COCO val2014 with the groups of Zhao et al.

    Reads the layout of `coco` and, beside it, `images_val2014.csv` with a row per photo: `id`, `bb_gender`
    (Male, Female, Unsure, Both) and `bb_skin` (Light, Dark, Unsure, Both). Photos without a row are in the
    group "not annotated". The file is had on request only: this reader was written to its published columns
    and to code that reads it, and its values were not seen in full.

    Args:
        path: Folder of COCO, with the annotations' file in it or in `annotations`.
        rule: How captions are held out for prompts; groups do not come from it.
        group: "gender", "skin", or "gender × skin".
        images_anywhere: Whether paths of photos may leave the folder.

    Raises:
        BadData: if a file or column is missing, or a value is malformed.
        UnknownName: if there is no such attribute.
    """
    names = attributes_of(group)
    for name in names:
        if name not in ("gender", "skin"):
            raise UnknownName("attribute of coco-zhao (dataset.group)", name, ["gender", "skin"])
    labels = {}
    for where, row in rows_of(path, *_FILES):
        found = {
            "gender": value_in(row, "bb_gender", where, _known(_GENDER)),
            "skin": value_in(row, "bb_skin", where, _known(_SKIN)),
        }
        labels[str(row["id"]).strip().partition(".")[0]] = " × ".join(found[n] for n in names)
    photos = read_coco(path, rule or RULES["strict"], images_anywhere=images_anywhere)
    rows = [
        {**row, "group": labels.get(str(row["id"]).rpartition("/")[2], "not annotated")}
        for row in photos.frame.to_dict("records")
    ]
    if all(row["group"] == "not annotated" for row in rows):
        raise BadData(f"{first_file(path, *_FILES)} has none of the photos of {path}")
    groups = dict(sorted(Counter(row["group"] for row in rows).items()))
    meta = {
        **photos.meta,
        "reader": "coco-zhao",
        "rule": {"name": "given", "by": f"annotators of Zhao et al. 2021, {group}"},
        "funnel": {"steps": {"with person": len(rows)}, "groups": groups, "dropped": {}},
        "terms": _TERMS,
    }
    return make_dataset(
        rows, image_root=photos.image_root, classes=photos.classes, meta=meta,
        images_anywhere=images_anywhere,
    )  # fmt: skip


def _known(values: dict[str, str]) -> dict[str, str]:
    return {**values, **dict.fromkeys(_UNSURE, "unsure")}
