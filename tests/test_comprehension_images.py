"""Edits of images and of photos: their area in both arms, what they spare, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_photos import write_photos

from vlbias.causal.region import Mask
from vlbias.data.fill import FillRegion
from vlbias.data.surface_edits import CropMargin, MovePicture, ShiftColour, edited_area
from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.comprehension.numbers import numbers
from vlbias.studies.comprehension.page import _headline
from vlbias.studies.comprehension.scene_items import scene_items
from vlbias.studies.comprehension.study import PHOTO_TASKS
from vlbias.studies.comprehension.surfaces import SURFACES, Canvas, surface_edit
from vlbias.studies.reporting import report

BOX = (40.0, 10.0, 50.0, 20.0)
PERSON = (4.0, 4.0, 16.0, 34.0)


@pytest.fixture
def noise() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def canvas(**changes: Any) -> Canvas:
    outline = np.zeros((48, 64), bool)
    outline[10:20, 40:50] = True
    fields = {
        "outline": outline,
        "painted": outline,
        "spared": (BOX, PERSON),
        "amount": 70,
        "fill": "mean",
    }
    return Canvas(**{**fields, **changes})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", SURFACES)
def test_surface_edits_have_the_area_of_the_deep_edit(
    kind: Any, seed: int, noise: Image.Image
) -> None:
    edit = surface_edit(kind, canvas(), seed)
    assert edit is not None
    assert edited_area(edit, noise.size) == pytest.approx(100)
    assert repr(edit) == repr(surface_edit(kind, canvas(), seed))
    changed = np.asarray(edit(noise))
    assert changed.shape == (48, 64, 3)
    differs = (changed != np.asarray(noise)).any(axis=2)
    if kind in ("background", "blur"):
        assert 90 <= differs.sum() <= 100  # a pixel may happen to have its new colour
        for x0, y0, x1, y1 in (BOX, PERSON):
            assert not differs[int(y0) : int(y1), int(x0) : int(x1)].any()
    if kind == "colour":
        assert differs.sum() == 100
        assert differs[10:20, 40:50].all()


def test_what_is_shown_stays_in_the_picture() -> None:
    for seed in range(20):
        crop = surface_edit("crop", canvas(), seed)
        assert isinstance(crop, CropMargin)
        x0, y0, x1, y1 = crop.box
        assert x0 <= 4
        assert y0 <= 4
        assert x1 >= 50
        assert y1 >= 34
        assert (x1 - x0) / (y1 - y0) == pytest.approx(64 / 48)
        move = surface_edit("position", canvas(), seed)
        assert isinstance(move, MovePicture)
        assert -4 <= move.dx <= 14
        assert -4 <= move.dy <= 14


def test_no_room_is_no_edit() -> None:
    everywhere = canvas(spared=((0.0, 0.0, 64.0, 48.0),))
    assert [kind for kind in SURFACES if surface_edit(kind, everywhere, 0)] == ["colour"]


def test_moves_and_crops_are_what_they_say(noise: Image.Image) -> None:
    pixels = np.asarray(noise)
    moved = np.asarray(MovePicture(3, -2)(noise))
    assert (moved[:-2, 3:] == pixels[2:, :-3]).all()
    assert (moved[-1, 3:] == pixels[-1, :-3]).all()
    half = np.asarray(MovePicture(0.5, 0)(noise)).astype(float)
    assert np.abs(half[:, 1:] - (pixels[:, 1:].astype(float) + pixels[:, :-1]) / 2).max() <= 0.5
    assert (np.asarray(CropMargin((0, 0, 64, 48))(noise)) == pixels).all()
    dark = np.asarray(ShiftColour(Mask.of(np.ones((48, 64), bool)))(noise)).astype(int)
    assert (np.abs(dark - pixels) == 70).all()
    with pytest.raises(TypeError):
        edited_area(lambda image: image, noise.size)
    assert edited_area(FillRegion((BOX,), "black"), noise.size) == 100


@pytest.mark.parametrize("task", ["scene-objects", "scene-image-cues"])
def test_every_surface_edit_of_scenes_is_matched(task: str) -> None:
    items = scene_items(task, 6, 5, variants=2, surfaces=SURFACES)
    for item in items:
        assert len(item.surface) == len(SURFACES)
        for number, view in enumerate(item.surface):
            deep = item.deep[number % len(item.deep)]
            assert item.size(view) == pytest.approx(item.size(deep), abs=1e-6)
            assert item.strength(view) > 0
            if SURFACES[number] in ("background", "colour"):
                assert item.strength(view) == pytest.approx(item.strength(deep), rel=0.02, abs=0.5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


def study(photos: Path, task: str, **changes: Any) -> Any:
    content = {
        "kind": "comprehension", "name": task, "model": "planted-dual-unbiased", "task": task,
        "dataset": {"name": "coco", "path": str(photos)},
    }  # fmt: skip
    return lifecycle.parse_study({**content, **changes})


@pytest.mark.parametrize("task", PHOTO_TASKS)
def test_items_of_photos(photos: Path, task: str) -> None:
    surfaces = () if task == "photo-text-cues" else SURFACES
    plan: Any = lifecycle.make_plan(study(photos, task, surfaces=surfaces))
    again: Any = lifecycle.make_plan(study(photos, task, surfaces=surfaces))
    assert [i.key for i in plan.items] == [i.key for i in again.items]
    assert str(photos) not in "".join(item.key for item in plan.items)
    assert len(plan.files) == len(plan.items) > 5
    for item in plan.items:
        assert "person" not in item.choices
        for view in item.surface:
            assert item.size(view) == pytest.approx(item.size(item.deep[0]))
        if task == "photo-text-cues":
            assert {item.original.person, item.deep[0].person} == {"man", "woman"}
            continue
        before, after = (np.asarray(v.picture().open()) for v in (item.original, item.deep[0]))
        differs = (before != after).any(axis=2)
        x0, y0, x1, y1 = (40, 10, 50, 20) if task == "photo-objects" else (4, 4, 16, 34)
        assert differs[y0:y1, x0:x1].mean() > 0.9
        differs[y0:y1, x0:x1] = False
        assert not differs.any()
    if task == "photo-objects":
        assert sum(plan.left_out.values()) + len(plan.items) == 24
        assert "photos without an item" in plan.funnel
        assert {item.answer for item in plan.items} == {"bicycle", "umbrella"}


def test_a_run_on_photos_and_its_page(photos: Path, tmp_path: Path) -> None:
    asked = study(photos, "photo-objects", surfaces=("colour", "blur"), shard_size=4)
    folder = lifecycle.run(asked, tmp_path).folder
    tables = numbers(Run(folder), draws=50)
    assert tables.sizes["measure"].tolist() == ["size", "strength"]
    assert tables.sizes["matched"].iloc[0]
    page = report(folder, draws=50).html.read_text()
    assert "Edits of the two arms are of equal area and not of equal strength" in page
    elsewhere = write_photos(tmp_path / "moved" / photos.name)
    moved = study(elsewhere, "photo-objects", surfaces=("colour", "blur"), shard_size=4)
    plans: list[Any] = [lifecycle.make_plan(one) for one in (asked, moved)]
    keys = [[item.key for item in plan.items] for plan in plans]
    assert keys[0] == keys[1]  # photos may lie elsewhere


@pytest.mark.parametrize(
    ("surface", "estimate", "expected"),
    [
        (60.0, 0.4, "comprehension-strengths-differ"),
        (140.0, 0.4, "comprehension-follows-meaning"),  # in spite of weaker deep edits
        (100.0, 0.4, "comprehension-follows-meaning"),
        (60.0, 0.0, "comprehension-not-shown"),
    ],
)
def test_stronger_deep_edits_are_no_evidence_for_the_meaning(
    surface: float, estimate: float, expected: str
) -> None:
    run: Any = SimpleNamespace(
        manifest={
            "study": {"task": "photo-objects", "random_weights": None},
            "model": {"name": "m"},
        }
    )
    sizes = pd.DataFrame(
        {
            "measure": ["size", "strength"], "deep": [50.0, 100.0], "surface": [50.0, surface],
            "matched": [True, surface == 100.0],
        }
    )  # fmt: skip
    row = pd.Series({"estimate": estimate, "lo": estimate - 0.1, "hi": estimate + 0.1, "items": 80})
    said = _headline(run, "m", row, sizes)
    assert said.claim == expected
    assert f"{estimate:+.3f}" in str(said)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": None}, BadStudy, "photos where the task is of photos"),
        ({"dataset": {"name": "coco"}}, BadStudy, "dataset.path"),
        ({"dataset": {"name": "cocoa", "path": "x"}}, UnknownName, "coco"),
        ({"dataset": {"name": "coco", "path": "x", "limit": 3}}, BadStudy, "`count` says"),
        ({"prompt": "caption"}, BadStudy, r"without \{caption\}"),
        ({"task": "photo-text-cues", "surfaces": ["blur"]}, BadStudy, "edits no image"),
        ({"task": "entailment", "surfaces": ["blur"], "dataset": None}, BadStudy, "edits no image"),
        ({"mediators": ["x"]}, BadStudy, "asked of images"),
        ({"surfaces": ["blurr"]}, BadStudy, "surfaces"),
    ],
)
def test_studies_of_images_that_cannot_be(
    photos: Path, changes: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        study(photos, **{"task": "photo-objects", **changes})


def test_edits_that_change_nothing_are_refused(photos: Path) -> None:
    """A text without the group's word: both worlds of an item would be one."""
    for task in ("photo-text-cues", "scene-text-cues"):
        dataset = {"dataset": None} if task.startswith("scene") else {}
        asked = study(photos, task, prompt="template-neutral", count=3, **dataset)
        with pytest.raises(BadStudy, match=r"with \{person\}"):
            lifecycle.make_plan(asked)


def test_photos_that_give_no_item(photos: Path) -> None:
    none = {"name": "coco", "path": str(photos), "splits": ["fit"]}
    with pytest.raises(BadStudy, match=r"dataset\.splits"):
        lifecycle.make_plan(study(photos, "photo-objects", dataset=none))
    with pytest.raises(BadData):
        lifecycle.make_plan(study(photos / "nowhere", "photo-objects"))
