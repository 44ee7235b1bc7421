"""A page says which world it is about where that is not the photos as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_studies import toy_study

from vlbias.errors import BadStudy
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers import numbers
from vlbias.studies.bias.page import compare, section
from vlbias.studies.bias.study import Study
from vlbias.studies.lifecycle import run_plan


@pytest.mark.integration
def test_a_page_without_a_contrast_from_null_names_its_world(
    tmp_path: Path, toy_folder: Path
) -> None:
    plan = toy_study(photos=600, contrasts=("mask-gender->both",))
    run = Run(run_plan(plan, tmp_path).folder)
    tables = numbers(run, draws=20)
    said = section(run, tables)
    assert said.headline.startswith("In the world 'mask-gender', not on photos as they are: ")
    assert (
        "thresholds and the objects with support are of the world 'mask-gender'" in said.readings[0]
    )
    text = " ".join(block.text for part in said.parts for block in part.blocks)
    assert "null world" not in text
    assert "mask-gender world" in text
    plain = Run(toy_folder)
    other = numbers(plain, draws=20)
    assert not section(plain, other).headline.startswith("In the world")
    (side, *_) = compare([(plain, other), (run, tables)])
    assert "The null world of each run" not in side.text
    assert "toy: mask-gender" in side.text


@pytest.mark.parametrize("null", [{"image": "mask-gender"}, {"text": "replace-gender"}])
def test_a_null_world_that_changes_something_is_refused(null: dict[str, Any]) -> None:
    worlds = {"null": null, "both": {"image": "mask-gender", "text": "replace-gender"}}
    with pytest.raises(BadStudy, match=r"worlds\.null"):
        Study.parse({"name": "x", "model": "toy", "worlds": worlds})


def test_a_null_world_that_changes_nothing_is_taken() -> None:
    worlds = {"null": {"image": "mask-gender", "strength": 0.0}, "both": {"image": "mask-gender"}}
    assert "null" in Study.parse({"name": "x", "model": "toy", "worlds": worlds}).worlds
