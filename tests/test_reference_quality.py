"""The table of the reference models beside YOLOv3-tiny, with a network that gives known rows."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reference_parts import EXPERIMENTS, photos

from vlbias.errors import BadData

SIZE = (40, 20)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    for name in ("script", "reference_quality"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    from importlib import import_module

    return import_module("reference_quality")


class Rows:
    """Gives these rows for every photo: centre, size, objectness, scores."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows, np.float32)

    def setInput(self, blob: Any) -> None:
        assert blob.shape == (1, 3, 416, 416)

    def getUnconnectedOutLayersNames(self) -> list[str]:
        return ["coarse", "fine"]

    def forward(self, names: list[str]) -> list[Any]:
        return [self.rows[:1], self.rows[1:]]


@pytest.fixture
def photo(tmp_path: Path) -> photos.Photo:
    Image.new("RGB", SIZE).save(tmp_path / "1.jpg")
    none = np.zeros((0, 4), np.float32)
    return photos.Photo(1, tmp_path / "1.jpg", ("a man",), none, np.zeros(0, np.int64), "masculine")


def test_boxes_are_pixels_of_the_file_and_doubles_of_a_class_are_dropped(
    script: ModuleType, photo: photos.Photo
) -> None:
    pytest.importorskip("cv2")
    net = Rows(
        [
            [0.5, 0.5, 0.5, 0.5, 1, 0.6, 0.0],
            [0.5, 0.5, 0.5, 0.5, 1, 0.9, 0.3],
            [0.1, 0.5, 0.2, 1.0, 1, 0.0, 0.0005],
        ]
    )
    frame, best = script.found_by(net, photo, 2)
    assert frame[["x0", "y0", "x1", "y1"]].to_numpy().tolist() == [[10, 5, 30, 15]] * 2
    assert dict(zip(frame["target"], frame["score"], strict=True)) == pytest.approx(
        {0: 0.9, 1: 0.3}
    )
    assert best.tolist() == pytest.approx([0.9, 0.3])
    with pytest.raises(BadData, match="2 classes, the photos 3"):
        script.found_by(net, photo, 3)


def test_a_training_that_did_not_end_has_no_row(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"training\.json is missing"):
        script.trained(tmp_path)


def test_models_without_boxes_have_no_precision_of_them(script: ModuleType) -> None:
    name = 'presence mAP, "a photo of a {object}", without person (62)'
    detector = {"ap": 0.1, "ap50": 0.2, "presence_map_without_person": 0.5}
    shown = script.table(detector, [{"name": name, "value": 0.4}], {"ap": 0.3})
    found = shown.set_index("model")["presence mAP without person"].to_dict()
    assert found["reference-detector"] == 0.5
    assert found["reference-dual"] == 0.4
    assert shown["AP"].isna().tolist() == [False, True, False]
