from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vlbias.analysis.box_precision import average_precision, group_gap, iou, matched, threshold_at
from vlbias.errors import BadTable
from vlbias.outcomes.best_boxes import best_boxes
from vlbias.store.boxes import BoxWriter, found_boxes, true_boxes, write_true_boxes

CLASSES = ("person", "dog", "cup")
CORNERS = ["x0", "y0", "x1", "y1"]


def frames(photos: int = 40, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """True boxes, and found ones of which about half are true boxes moved a little."""
    rng = np.random.default_rng(seed)
    samples = [f"photo/{i}" for i in range(photos)]
    truth, found = [], []
    for sample in samples:
        for _ in range(rng.integers(0, 6)):
            low, size = rng.uniform(0, 60, 2), rng.uniform(5, 40, 2)
            name = CLASSES[rng.integers(3)]
            crowd = int(rng.random() < 0.1)
            truth.append((sample, name, *low, *(low + size), crowd))
            for _ in range(rng.integers(0, 3)):
                moved = np.concatenate([low, low + size]) + rng.normal(0, 3, 4)
                other = CLASSES[rng.integers(3)] if rng.random() < 0.2 else name
                found.append((sample, other, rng.random(), *moved))
        for _ in range(rng.integers(0, 4)):
            low, size = rng.uniform(0, 60, 2), rng.uniform(5, 40, 2)
            found.append((sample, CLASSES[rng.integers(3)], rng.random(), *low, *(low + size)))
    return (
        pd.DataFrame(truth, columns=["sample_id", "target", *CORNERS, "crowd"]),
        pd.DataFrame(found, columns=["sample_id", "target", "score", *CORNERS]),
        samples,
    )


def by_pycocotools(
    truth: pd.DataFrame, found: pd.DataFrame, samples: list[str], classes: list[str]
) -> np.ndarray:
    """COCO's twelve numbers, from files as COCO's own tools read them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    gold = {
        "info": {},
        "images": [{"id": i, "width": 100, "height": 100} for i in range(1, len(samples) + 1)],
        "categories": [{"id": 10 * k, "name": name} for k, name in enumerate(CLASSES, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": samples.index(row.sample_id) + 1,
                "category_id": 10 * (CLASSES.index(row.target) + 1),
                "bbox": [row.x0, row.y0, row.x1 - row.x0, row.y1 - row.y0],
                "area": (row.x1 - row.x0) * (row.y1 - row.y0),
                "iscrowd": row.crowd,
            }
            for number, row in enumerate(truth.itertuples(), 1)
        ],
    }
    guesses = [
        {
            "image_id": samples.index(row.sample_id) + 1,
            "category_id": 10 * (CLASSES.index(row.target) + 1),
            "bbox": [row.x0, row.y0, row.x1 - row.x0, row.y1 - row.y0],
            "score": row.score,
        }
        for row in found.itertuples()
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = gold
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(guesses), "bbox")
        evaluation.params.catIds = [10 * (CLASSES.index(name) + 1) for name in classes]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("classes", [["person", "dog", "cup"], ["dog", "cup"]])
def test_average_precision_is_that_of_pycocotools(classes: list[str]) -> None:
    truth, found, samples = frames()
    mine = average_precision(truth, found, samples, classes)
    theirs = by_pycocotools(truth, found, samples, classes)
    assert 0.05 < mine.ap < 0.95
    assert [mine.ap, mine.ap50, mine.ap75, mine.ar] == pytest.approx(
        [theirs[0], theirs[1], theirs[2], theirs[8]], abs=1e-9
    )
    assert np.mean(list(mine.by_class.values())) == pytest.approx(theirs[0], abs=1e-9)


def test_photos_and_classes_without_boxes() -> None:
    truth, found, samples = frames(6)
    none = found.iloc[:0]
    assert average_precision(truth, none, samples, CLASSES).ap == 0
    empty = average_precision(truth.iloc[:0], found, samples, CLASSES)
    assert np.isnan([empty.ap, empty.ap50, empty.ar]).all()
    with pytest.raises(BadTable, match="photo"):
        average_precision(truth, found, [], CLASSES)


def test_the_gap_of_two_groups_is_their_difference() -> None:
    truth, found, samples = frames()
    gap = group_gap(truth, found, {"a": samples[:25], "b": samples[25:]}, CLASSES)
    one = average_precision(truth, found, samples[:25], CLASSES)
    assert gap.loc["a", "ap50"] == one.ap50
    assert gap.loc["gap", "ap"] == gap.loc["a", "ap"] - gap.loc["b", "ap"] != 0


def hand_drawn() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two dogs side by side: one found twice, one missed, and a dog found where a crowd is."""
    truth = pd.DataFrame(
        [
            ("p", "dog", 0, 0, 10, 10, 0),
            ("p", "dog", 20, 0, 30, 10, 0),
            ("p", "dog", 40, 0, 60, 10, 1),
            ("q", "cup", 0, 0, 5, 5, 0),
        ],
        columns=["sample_id", "target", *CORNERS, "crowd"],
    )
    found = pd.DataFrame(
        [
            ("p", "dog", 0.9, 0, 0, 10, 9),
            ("p", "dog", 0.8, 0, 1, 10, 10),
            ("p", "dog", 0.7, 22, 0, 42, 10),
            ("p", "dog", 0.6, 41, 0, 60, 10),
            ("q", "dog", 0.5, 0, 0, 5, 5),
        ],
        columns=["sample_id", "target", "score", *CORNERS],
    )
    return truth, found


def test_boxes_are_matched_by_hand() -> None:
    truth, found = hand_drawn()
    rows = matched(truth, found).set_index(["sample_id", "target"])
    assert rows.loc[("p", "dog")].tolist() == [1, 2, 1]  # the second claim and the one between
    assert rows.loc[("q", "cup")].tolist() == [0, 0, 1]
    assert rows.loc[("q", "dog")].tolist() == [0, 1, 0]
    strict = matched(truth, found, threshold=0.85).set_index(["sample_id", "target"])
    assert strict.loc[("p", "dog")].tolist() == [1, 0, 1]


def test_matched_operating_points_make_equally_many_false_boxes() -> None:
    truth, found = hand_drawn()
    assert threshold_at(truth, found, 2, per_photo=1.0) == 0.6
    assert threshold_at(truth, found, 2, per_photo=2.0) == 0.0
    none = threshold_at(truth, found, 2, per_photo=0.0)
    assert 0.8 < none <= 0.9
    truth, found, samples = frames()
    for per_photo in (0.2, 1.0):
        at = threshold_at(truth, found, len(samples), per_photo=per_photo)
        made = matched(truth, found, threshold=at)["fp"].sum()
        assert made <= per_photo * len(samples)
        below = found["score"][found["score"] < at].max()
        assert matched(truth, found, threshold=below)["fp"].sum() > per_photo * len(samples)


def test_overlap_of_boxes() -> None:
    one = np.array([[0, 0, 10, 10], [3, 3, 3, 9]], float)
    other = np.array([[5, 0, 15, 10], [0, 0, 10, 10]], float)
    assert iou(one, other).tolist() == [[1 / 3, 1.0], [0.0, 0.0]]


def test_the_best_pairs_of_box_and_class_are_kept() -> None:
    prob = torch.tensor([[[0.9, 0.1], [0.2, 0.8]], [[0.0, 0.3], [0.0, 0.0]]])
    boxes = torch.arange(16.0).view(2, 2, 4)
    best = best_boxes({"boxes": boxes, "class_prob": prob}, 3)
    assert best.row.tolist() == [0, 0, 0, 1]
    assert best.target.tolist() == [0, 1, 0, 1]
    assert best.score.tolist() == pytest.approx([0.9, 0.8, 0.2, 0.3])
    assert best.corners[2].tolist() == [4, 5, 6, 7]
    lost = best_boxes({"boxes": boxes * torch.nan, "class_prob": prob * torch.nan}, 3)
    assert len(lost.row) == 0


def test_boxes_come_back_as_they_were_kept(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    writer = BoxWriter(tmp_path, "k", ["a", "b"])
    names = {"contrast": "x->y", "mediator": "", "arm": "00"}
    target = np.array(["dog", "cup"], dtype=object)
    corners = np.arange(8.0).reshape(2, 4)
    writer.add(names, np.array([1, 0]), target, np.array([0.5, 0.25]), corners)
    writer.add({**names, "arm": "11"}, np.array([1]), target[:1], np.array([0.1]), corners[:1])
    writer.close()
    (tmp_path / "cells" / "k.parquet").touch()
    found = found_boxes(tmp_path, ["k", "missing"], "x->y", "ignored", "00")
    assert found["sample_id"].tolist() == ["b", "a"]
    assert found[["target", "score"]].to_numpy().tolist() == [["dog", 0.5], ["cup", 0.25]]
    assert found[CORNERS].to_numpy().tolist() == corners.tolist()
    write_true_boxes(tmp_path, [("a", "dog", 0, 1, 2, 3, 0)])
    assert true_boxes(tmp_path).iloc[0].tolist() == ["a", "dog", 0, 1, 2, 3, 0]
    (tmp_path / "cells" / "other.parquet").touch()
    with pytest.raises(BadTable, match="keep_boxes"):
        found_boxes(tmp_path, ["other"], "x->y", "", "00")
