"""Groups of single persons: which stands nearest to an object, and recall by that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_studies import CLASSES, toy_study

from vlbias.data import read_photo_dataset
from vlbias.data.counterfactual_examples import make_examples
from vlbias.data.nearest_person import nearest_groups
from vlbias.data.own_photos import read_own
from vlbias.data.table import load_dataset_table, save_dataset
from vlbias.data.world import World
from vlbias.errors import BadData, BadStudy
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers.nearest import recall_by_nearest
from vlbias.studies.lifecycle import run_plan
from vlbias.studies.mitigation.study import SplitPhotos
from vlbias.studies.photos.scores import PresenceScores


def box(name: str, x0: float, x1: float, group: str = "", y0: float = 0, y1: float = 10) -> Any:
    entry = {"class": name, "x0": x0, "x1": x1, "y0": y0, "y1": y1, "crowd": False}
    return entry | ({"group": group} if group else {})


def found(*objects: Any) -> dict[str, str]:
    return {one["class"]: one["group"] for one in nearest_groups(objects)}


def test_nearest_by_edges_then_by_centres() -> None:
    woman, man = box("person", 0, 20, "f"), box("person", 60, 100, "m")
    assert found(woman, man, box("cup", 22, 30), box("dog", 50, 58)) == {"cup": "f", "dog": "m"}
    # both overlap: the nearer centre; of two cups the pair that is nearest
    assert found(woman, man, box("sofa", 0, 100)) == {"sofa": "f" if 40 < 30 else "m"}
    assert found(woman, man, box("cup", 30, 35), box("cup", 61, 65)) == {"cup": "m"}


def test_nobody_stands_in_for_the_nearest() -> None:
    woman, unknown = box("person", 0, 20, "f"), box("person", 60, 100)
    assert found(woman, unknown, box("cup", 22, 30), box("dog", 50, 58)) == {"cup": "f"}
    crowd = box("person", 50, 58, "m") | {"crowd": True}
    assert found(woman, crowd, box("dog", 50, 58)) == {"dog": "f"}
    assert found(box("person", 0, 20), box("cup", 0, 9)) == {}


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    for row in rows:
        Image.fromarray(np.zeros((50, 120, 3), np.uint8)).save(folder / row["image"])
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder / "p.jsonl"


PEOPLE = [["person", 0, 0, 20, 40, "f"], ["person", 60, 0, 100, 40, "m"]]
ROWS = (
    {"image": "0.png", "group": "several", "split": "test", "boxes": [*PEOPLE, ["cup", 22, 1, 30, 9]]},
    {"image": "1.png", "group": "f", "split": "test", "boxes": [PEOPLE[0], ["cup", 22, 1, 30, 9]]},
    {"image": "2.png", "group": "m", "split": "test", "labels": ["cup"]},
    {"image": "3.png", "group": "several", "split": "test", "labels": ["cup"]},
)  # fmt: skip


def test_own_tables_give_persons_groups(tmp_path: Path) -> None:
    dataset = read_own(table(tmp_path, *ROWS), several="nearest")
    assert dataset.frame["nearest"].to_list() == [
        [{"class": "cup", "group": "f"}], [{"class": "cup", "group": "f"}], [], [],
    ]  # fmt: skip
    save_dataset(dataset, tmp_path / "saved")
    again = load_dataset_table(tmp_path / "saved")
    assert again.content_hash == dataset.content_hash
    options: dict[str, Any] = {"prompt": "categories", "splits": ["test"], "groups": ["f", "m"]}
    kept = make_examples(dataset, {"null": World()}, **options, several="nearest")
    assert [e.id for e in kept] == ["0.png", "1.png", "2.png"]
    assert kept[0].targets["nearest"] == {("cup", "f")}
    alone = make_examples(dataset, {"null": World()}, **options)
    assert [e.id for e in alone] == ["1.png", "2.png"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    plain = table(tmp_path, *ROWS[2:])
    options: dict[str, Any] = {
        "prompt": "categories",
        "splits": ["test"],
        "groups": ["m", "several"],
    }
    with pytest.raises(BadData, match="sixth entry"):
        make_examples(read_own(plain), {"null": World()}, **options, several="nearest")
    with pytest.raises(BadStudy, match="own table"):
        read_photo_dataset("own", plain, None, several="one")
    with pytest.raises(BadData, match="'person' only"):
        read_own(table(tmp_path, ROWS[2] | {"boxes": [["cup", 0, 0, 9, 9, "f"]]}))
    with pytest.raises(ValueError, match="photos of one group"):
        SplitPhotos(several="nearest")


def test_recall_counts_photos_of_several_persons_under_the_nearest(
    tmp_path: Path, toy_folder: Path
) -> None:
    """By hand: of photos with the object near a group, the share above the object's threshold."""
    plan, rng = toy_study(photos=2000, contrasts=["null->mask-gender"]), np.random.default_rng(0)
    rows = [
        replace(
            one,
            attributes={**one.attributes, "group": one.attributes["group"] if i % 4 else "several"},
            targets={
                **one.targets,
                "nearest": frozenset(
                    (name, str(rng.choice(["masculine", "feminine", "other"])))
                    for name in one.targets["present"]
                ),
            },
        )
        for i, one in enumerate(plan.examples)
    ]
    result = Run(run_plan(replace(plan, examples=tuple(rows)), tmp_path / "with").folder)
    job = PresenceScores(result, draws=50)
    assert set(job.panel.group) == {"masculine", "feminine"}
    assert len(job.panel) < (job.whole.split == "test").sum()
    table = recall_by_nearest(job).set_index("object")
    assert 0 < len(table) <= len(CLASSES)
    scores = result.slab(job.null_contrast, "", "00")
    for name, line in table.iterrows():
        k = result.targets.index(str(name))
        for group in ("masculine", "feminine"):
            near = [
                i
                for i, one in enumerate(rows)
                if one.attributes["split"] == "test" and (name, group) in one.targets["nearest"]
            ]
            assert line[f"n_{group}"] == len(near)
            hit = scores[near, k] >= job.thresholds[k]
            assert line[f"rate_{group}"] == pytest.approx(hit.mean())
        assert line["lo"] <= line["gap"] <= line["hi"]
    assert recall_by_nearest(PresenceScores(Run(toy_folder), draws=5)).empty
