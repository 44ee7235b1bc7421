"""Readers of the field's data sets: known counts on files of the exact layout, votes, boxes, intersections."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import annotated_sets
import pytest

import vlbias as vb
from vlbias.data import DATASETS, PAIRS, read_photo_dataset
from vlbias.data.people.persons import HARMFUL, majority
from vlbias.data.photo_files import verify_images
from vlbias.data.table import Dataset
from vlbias.errors import BadData, BadStudy, UnknownName

COUNTS = {
    ("facet", "gender"): {"masculine": 1, "feminine": 1, "several": 1},
    ("facet", "skin"): {"lighter": 2, "darker": 1},
    ("facet", "gender × skin"): {"masculine × lighter": 1, "feminine × darker": 1, "several": 1},
    ("miap", "gender"): {"feminine": 1, "unsure": 2},
    ("miap", "gender x age"): {"feminine × young": 1, "unsure × young": 2},
    ("fairface", "race"): {"East Asian": 4, "White": 1},
    ("fairface", "gender × age"): {"masculine × more than 70": 2, "feminine × 20-29": 2,
                                   "masculine × 20-29": 1},
    ("fhibe", "gender"): {"feminine": 1, "masculine": 1, "several pronouns": 1},
    ("fhibe", "age × ancestry"): {"18-29 × africa": 1, "50+ × several": 1, "30-49 × unsure": 1},
    ("phase", "gender"): {"masculine": 1, "several": 1},
    ("visogender", "gender"): {"masculine": 1, "feminine": 1},
    ("visogender", "gender × participant"): {"masculine × feminine": 1, "feminine × feminine": 1},
}  # fmt: skip


def read(name: str, folder: Path, **options: str) -> Dataset:
    made = annotated_sets.PEOPLE[name](folder / name)
    return read_photo_dataset(name, made, None, **options)


@pytest.mark.parametrize(("name", "group"), COUNTS)
def test_groups_are_counted(name: str, group: str, tmp_path: Path) -> None:
    dataset = read(name, tmp_path, group=group)
    assert dataset.frame["group"].value_counts().to_dict() == COUNTS[name, group]
    assert dataset.meta["funnel"]["groups"] == COUNTS[name, group]
    assert dataset.meta["terms"]
    assert set(dataset.frame["licence"]) == {""}, "no photo of these sets is shown on a page"
    assert set(verify_images(dataset)) == set(dataset.frame["image"])


@pytest.mark.parametrize(
    ("name", "photo", "box"),
    [
        ("facet", "a.jpg", (2, 1, 12, 9)),  # x, y, width, height
        ("miap", "a.jpg", (10, 2, 20, 18)),  # shares
        ("fhibe", "photos/0.png", (4, 2, 14, 14)),  # x, y, width, height in a list
        ("phase", "p1.jpg", (2, 2, 12, 18)),  # corners
    ],
)
def test_four_conventions_of_boxes_are_one(
    name: str, photo: str, box: tuple[float, ...], tmp_path: Path
) -> None:
    frame = read(name, tmp_path).frame.set_index("image")
    (found,) = frame.loc[photo, "objects"]
    assert tuple(found[side] for side in ("x0", "y0", "x1", "y1")) == pytest.approx(box)
    assert found["class"] == "person"


def test_classes_are_those_of_the_set_or_those_that_no_photo_shows(tmp_path: Path) -> None:
    facet, miap = read("facet", tmp_path), read("miap", tmp_path)
    assert facet.classes == ("person", "boatman", "lawman", "nurse", "singer")
    assert facet.frame.set_index("image").loc["a.jpg", "present"] == ["lawman", "person", "singer"]
    assert miap.classes == ("person", *HARMFUL)
    assert {tuple(present) for present in miap.frame["present"]} == {("person",)}


@pytest.mark.parametrize(
    ("several", "groups"),
    [
        ("alike", {"masculine": 1, "feminine": 1, "several": 1}),
        ("one", {"masculine": 1, "several": 2}),
        ("largest", {"masculine": 1, "feminine": 2}),
    ],
)
def test_several_persons_in_a_photo(several: str, groups: dict[str, int], tmp_path: Path) -> None:
    dataset = read("facet", tmp_path, several=several)
    assert dataset.frame["group"].value_counts().to_dict() == groups


def test_splits_of_the_set_are_kept(tmp_path: Path) -> None:
    miap = read("miap", tmp_path).frame.set_index("image")["split"]
    assert miap.to_dict() == {"a.jpg": "fit", "b.jpg": "fit", "c.jpg": "test"}
    fairface = read("fairface", tmp_path).frame["split"].value_counts().to_dict()
    assert fairface == {"fit": 2, "test": 2, "dev": 1}


def test_people_who_leave_fhibe_change_its_version(tmp_path: Path) -> None:
    first = read("fhibe", tmp_path).meta["version"]
    file = tmp_path / "fhibe" / "data" / "processed" / "fhibe.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    assert read_photo_dataset("fhibe", tmp_path / "fhibe", None).meta["version"] != first


def test_coco_gets_the_groups_of_zhao(photos: Path, tmp_path: Path) -> None:
    folder = annotated_sets.coco_zhao(tmp_path / "coco", photos)
    plain = read_photo_dataset("coco-zhao", folder, None)
    counts = plain.frame["group"].value_counts().to_dict()
    assert counts["not annotated"] == counts["unsure"] == 1
    crossed = read_photo_dataset("coco-zhao", folder, None, group="gender × skin")
    assert {"masculine × darker", "masculine × lighter"} <= set(crossed.frame["group"])
    assert sum(crossed.frame["group"].value_counts()) == sum(counts.values())
    with pytest.raises(UnknownName, match="age"):
        read_photo_dataset("coco-zhao", folder, None, group="age")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    folder = annotated_sets.facet(tmp_path / "facet")
    with pytest.raises(UnknownName, match="shoe size"):
        read_photo_dataset("facet", folder, None, group="gender × shoe size")
    file = folder / "annotations" / "annotations.csv"
    text = file.read_text()
    file.write_text(text.replace("gender_presentation_fem", "gender_fem"))
    with pytest.raises(BadData, match=r"row 1: no column 'gender_presentation_fem'"):
        read_photo_dataset("facet", folder, None)
    file.unlink()
    with pytest.raises(BadData, match=r"expected one of annotations/annotations\.csv"):
        read_photo_dataset("facet", folder, None)
    with pytest.raises(BadStudy, match="reader 'own' has no choice"):
        read_photo_dataset("own", folder, None, group="gender")


def test_votes_without_a_majority_are_unsure() -> None:
    assert majority({"a": 2, "b": 1}) == "a"
    assert majority({"a": 1, "b": 1}) == "unsure"
    assert majority({"a": 0, "b": 0}) == majority({}) == "unsure"


def test_pairs_are_worlds_and_the_pair_is_the_cluster(tmp_path: Path) -> None:
    found = vb.load_dataset("pairs", annotated_sets.pairs(tmp_path / "pairs"))
    assert [e.cluster for e in found] == ["pairs/occupations/bus_driver", "pairs/occupations/chef"]
    assert found[0].worlds["null"]["text"] == "a photo of a bus driver"
    assert "forbids passing images on" in found[0].attributes["terms"]
    races = vb.load_dataset("pairs", tmp_path / "pairs", groups=("black_woman", "white_woman"))
    assert len(races) == 1, "a scene without one of the groups is no pair"
    with pytest.raises(BadData, match="no scene has images of"):
        vb.load_dataset("pairs", tmp_path / "pairs", groups=("man", "woman"))
    jobs = vb.load_dataset("genderbias-vl", annotated_sets.genderbias_vl(tmp_path / "gb"), limit=1)
    assert [e.id for e in jobs] == ["genderbias-vl/chef/base/0"]
    sets = vb.load_dataset(
        "social-counterfactuals", annotated_sets.social_counterfactuals(tmp_path / "sc")
    )
    assert [e.cluster.rpartition("/")[0] for e in sets] == [
        "social-counterfactuals/1", "social-counterfactuals/3"
    ]  # fmt: skip
    assert {e.worlds["null"]["text"] for e in sets} == {"A photo of a White chef"}


def test_what_each_set_allows_and_forbids_is_said_in_the_docs() -> None:
    docs = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
    told = {
        line.split("|")[1].strip(" `"): line.split("|")[2].strip()
        for line in docs.partition("## What each set allows and forbids")[2].splitlines()
        if line.startswith("| `")
    }
    folders = {name: "people" for name in (*annotated_sets.PEOPLE, "coco-zhao")}
    folders |= dict.fromkeys(PAIRS, "image_pairs")
    assert len(folders) == 10
    for name, folder in folders.items():
        module = import_module(f"vlbias.data.{folder}.{name.replace('-', '_')}")
        terms = getattr(module, "_TERMS", None) or module.TERMS
        assert "allows" in terms
        assert told[name] == terms


def test_every_reader_is_one_line_of_a_registry() -> None:
    names = {*annotated_sets.PEOPLE, "coco-zhao"}
    assert names <= set(DATASETS)
    assert set(PAIRS) == {"pairs", "genderbias-vl", "social-counterfactuals"}
