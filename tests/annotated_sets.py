"""Data sets of annotated persons in the exact layouts of their files, a few photos each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZE = (40, 20)


def photo(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (shade % 256, 0, 0)).save(path)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def facet(root: Path) -> Path:
    """Three photos: one person, two alike, two that differ; box as text, votes as counts."""
    people = [("a.jpg", "lawman", 3, 0, 2), ("b.jpg", "nurse", 0, 3, 9), ("b.jpg", "nurse", 1, 2, 8),
              ("c.jpg", "nurse", 3, 0, 2), ("c.jpg", "boatman", 0, 3, 2)]  # fmt: skip
    rows = [
        {"person_id": i, "filename": name, "class1": kind, "class2": "singer" if i == 0 else "",
         "gender_presentation_masc": masc, "gender_presentation_fem": fem,
         "gender_presentation_non_binary": 0, "gender_presentation_na": 0,
         **{f"skin_tone_{k}": 3 * (k == tone) for k in range(1, 11)},
         "age_presentation_young": 0, "age_presentation_middle": 2, "age_presentation_older": 1,
         "bounding_box": json.dumps({"x": 2.0, "y": 1.0, "width": 10.0 + i, "height": 8.0})}
        for i, (name, kind, masc, fem, tone) in enumerate(people)
    ]  # fmt: skip
    write_rows(root / "annotations" / "annotations.csv", rows)
    for name in "abc":
        photo(root / "images" / f"{name}.jpg", ord(name))
    return root


def miap(root: Path) -> Path:
    """Boxes in shares; train and test; a photo that is not there."""
    for split, names in (("train", "ab"), ("test", "cx")):
        write_rows(
            root / f"open_images_extended_miap_boxes_{split}.csv",
            [{"ImageID": name, "LabelName": "/m/01g317", "Confidence": 1, "XMin": 0.25, "XMax": 0.5,
              "YMin": 0.1, "YMax": 0.9, "IsOccluded": 0,
              "GenderPresentation": "Predominantly Feminine" if name == "a" else "Unknown",
              "AgePresentation": "Young"} for name in names],
        )  # fmt: skip
    for name in "abc":
        photo(root / "images" / f"{name}.jpg")
    return root


def fairface(root: Path) -> Path:
    for split, numbers in (("train", (1, 2)), ("val", (1, 2, 3))):
        write_rows(
            root / f"fairface_label_{split}.csv",
            [{"file": f"{split}/{i}.jpg", "age": "more than 70" if i == 1 else "20-29",
              "gender": "Male" if i % 2 else "Female", "race": "East Asian" if i < 3 else "White",
              "service_test": True} for i in numbers],
        )  # fmt: skip
        for i in numbers:
            photo(root / split / f"{i}.jpg")
    return root


def fhibe(root: Path) -> Path:
    """Pronouns and ancestry as lists; several of them are real values."""
    told = [("['0. She/her/hers']", 25, "['1. Africa']"), ("['1. He/him/his']", 61, "['1. Africa', '3. Asia']"),
            ("['2. They/them/their', '0. She/her/hers']", 40, "[]")]  # fmt: skip
    write_rows(
        root / "data" / "processed" / "fhibe.csv",
        [{"filepath": f"photos/{i}.png", "person_bbox": "[4.0, 2.0, 10.0, 12.0]", "pronoun": pronoun,
          "age": age, "ancestry": ancestry} for i, (pronoun, age, ancestry) in enumerate(told)],
    )  # fmt: skip
    for i in range(len(told)):
        photo(root / "photos" / f"{i}.png")
    return root


def phase(root: Path) -> Path:
    """Votes of annotators; one photo whose address is dead; captions beside the persons."""

    def person(*genders: str) -> dict[str, Any]:
        return {
            "region": [2, 2, 12, 18],
            "annotations": [{"gender": g, "skin": "1"} for g in genders],
        }

    content = {
        "p1": {"caption": "a man", "0": person("Man", "Man", "Woman")},
        "p2": {"caption": "two", "0": person("Woman", "Woman"), "1": person("Woman", "Unsure")},
        "dead": {"caption": "gone", "0": person("Man")},
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "phase_gcc_val_all_20221101.json").write_text(json.dumps(content))
    for name in ("p1", "p2"):
        photo(root / "images" / f"{name}.jpg")
    return root


def visogender(root: Path) -> Path:
    write_rows(
        root / "OP.tsv",
        [{"IDX": i, "Sector": "healthcare", "Specialisation": "", "Occupation": job, "Participant": "patient",
          "URL type (Type NA if can't find)": "https://x", "Occupation_perceived_gender": gender,
          "Participant_perceived_gender": "feminine"}
         for i, (job, gender) in enumerate(
             [("doctor", "masculine"), ("nurse", "feminine"), ("nurse", "feminine")])],
        "\t",
    )  # fmt: skip
    for i in range(2):  # the address of the third is dead
        photo(root / "images" / f"{i}.png")
    return root


def coco_zhao(root: Path, photos: Path) -> Path:
    """The tiny COCO layout with a row for all its photos but the last, ids as the file writes them."""
    import shutil

    shutil.copytree(photos, root)
    listed = json.loads(next(root.rglob("instances*.json")).read_text())["images"]
    rows = [
        {"id": image["id"], "bb_gender": "Male" if i % 2 else "Female",
         "bb_skin": "Dark" if i % 4 < 2 else "Light"}
        for i, image in enumerate(sorted(listed, key=lambda one: one["id"])[:-1])
    ]  # fmt: skip
    rows[0]["bb_gender"] = "Unsure"
    write_rows(root / "images_val2014.csv", rows)
    return root


def pairs(root: Path) -> Path:
    for scene in ("chef", "bus_driver"):
        for name in ("black_man", "black_woman", "white_man", "white_woman"):
            if (scene, name) != ("bus_driver", "black_woman"):
                photo(root / "data" / "occupations" / scene / f"{name}.png")
    return root


def genderbias_vl(root: Path) -> Path:
    entries = [
        {"id": i, "query": "q", "gt_choice": "A", "gt_choices": ["A"], "filename": "f", "occ": occ,
         "occ_sim": "nurse", "gender": gender, "image_type": "base", "image": f"imgs/{occ}_{gender}.png"}
        for i, (occ, gender) in enumerate((o, g) for o in ("chef", "pilot") for g in ("male", "female"))
    ]  # fmt: skip
    for entry in entries:
        photo(root / str(entry["image"]))
    (root / "questions.json").write_text(json.dumps(entries))
    return root


def social_counterfactuals(root: Path) -> Path:
    def png(shade: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", SIZE, (shade, 0, 0)).save(buffer, format="PNG")
        return buffer.getvalue()

    rows = [
        {"image": {"bytes": png(10 * i), "path": None}, "caption": f"A photo of a White {word} chef",
         "counterfactual_set": group, "a1_type": "race", "a1": "White", "a2_type": "gender", "a2": word}
        for i, (group, word) in enumerate([(1, "male"), (1, "female"), (2, "male"), (3, "female"), (3, "male")])
    ]  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "part-0.parquet")
    return root


PEOPLE: dict[str, Callable[[Path], Path]] = {
    "facet": facet, "miap": miap, "fairface": fairface, "fhibe": fhibe, "phase": phase,
    "visogender": visogender,
}  # fmt: skip
