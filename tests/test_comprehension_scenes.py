"""Comprehension of vision-language models on rendered scenes: on planted models the answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vlbias.errors import BadStudy
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.comprehension.numbers import numbers
from vlbias.studies.comprehension.scene_items import scene_items
from vlbias.studies.comprehension.study import SCENE_TASKS


def study(model: str, task: str, **changes: Any) -> Any:
    content = {
        "kind": "comprehension", "name": f"{model}-{task}", "model": model, "task": task, "count": 120,
        "prompt": "template",
    }  # fmt: skip
    return lifecycle.parse_study({**content, **changes})


@pytest.mark.parametrize("task", SCENE_TASKS)
def test_edits_of_both_arms_are_of_equal_size(task: str) -> None:
    items = scene_items(task, 25, 3, variants=2)
    assert [repr(i) for i in items] == [repr(i) for i in scene_items(task, 25, 3, variants=2)]
    for item in items:
        for deep, surface in zip(item.deep, item.surface, strict=True):
            assert item.size(deep) == item.size(surface) > 0
            if task != "scene-objects":
                continue
            original, changed, moved = (
                np.asarray(view.picture().open()) for view in (item.original, deep, surface)
            )
            scene = item.original.source.scene  # type: ignore[union-attr]
            x0, y0, x1, y1 = scene.person
            assert (original == moved)[y0:y1, x0:x1].all()
            for thing in scene.things:
                x0, y0, x1, y1 = thing.box
                assert (original == moved)[y0:y1, x0:x1].all()
                outside = (original != changed).any(axis=2)
                outside[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = (
                    False  # strokes have a width
                )
                assert not outside.any()


def effects(model: str, task: str, folder: Path) -> pd.DataFrame:
    run = Run(lifecycle.run(study(model, task), folder).folder)
    tables = numbers(run, draws=300)
    assert tables.sizes.set_index("measure").loc["size", "matched"]
    return tables.effects.set_index("quantity")


def test_objects_are_recognised(tmp_path: Path) -> None:
    found = effects("planted-dual-unbiased", "scene-objects", tmp_path)
    assert found.loc["accuracy", "estimate"] > 0.6
    assert found.loc["unconditioned", "lo"] > 0.3


@pytest.mark.integration
@pytest.mark.parametrize(
    ("plant", "task", "follows"),
    [
        ("image", "scene-image-cues", True),
        ("text", "scene-text-cues", True),
        ("unbiased", "scene-image-cues", False),
        ("unbiased", "scene-text-cues", False),
        ("text", "scene-image-cues", False),
        ("image", "scene-text-cues", False),
    ],
)
def test_planted_models_follow_their_cue_and_no_other(
    plant: str, task: str, follows: bool, tmp_path: Path
) -> None:
    row = effects(f"planted-dual-{plant}", task, tmp_path).loc["unconditioned"]
    assert (row["lo"] > 0.2) == follows
    if not follows:
        assert row["estimate"] < 0.15


def test_what_scenes_cannot_be_asked() -> None:
    with pytest.raises(BadStudy, match="endpoint"):
        study("x", "scene-objects", endpoint={"base_url": "http://x"})
    with pytest.raises(BadStudy, match="scores classes"):
        lifecycle.make_plan(study("symbolic-bottleneck-0", "scene-objects"))
