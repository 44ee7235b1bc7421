"""Regions beside the person boxes, named in a study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vlbias.data.regions import person_regions
from vlbias.errors import BadData, BadStudy
from vlbias.studies.bias.plan import photos_of
from vlbias.studies.bias.study import Study
from vlbias.studies.photos.plan import Photos
from vlbias.studies.photos.study_regions import carrying_regions

OWN = '\n[regions]\nown = "boxes.json"\n\n[worlds.null]\n\n[worlds.{name}]\nimage = "{image}"\nregion = "own"\n'


@pytest.fixture
def planned(study_file: Callable[..., Path], photos: Path) -> Callable[..., Photos]:
    """Plans the tiny study with a region of one's own: a strip on each person, none on the last."""

    def plan(boxes: object = None, *, image: str = "mask-gender", end: str = OWN) -> Photos:
        path = study_file()
        text = path.read_text()
        start = text.index("contrasts")
        stop = text.index("]", start) + 1
        text = text[:start] + 'contrasts = ["null->strip"]' + text[stop:]
        path.write_text(text + end.format(name="strip", image=image))
        ids = [
            image["id"] for image in json.loads((photos / "instances.json").read_text())["images"]
        ]
        strips = {f"coco-{photos.name}/{i}": [[6, 6, 10, 12]] for i in ids[:-1]} | {
            f"coco-{photos.name}/{ids[-1]}": []
        }
        (path.parent / "boxes.json").write_text(json.dumps(strips if boxes is None else boxes))
        return photos_of(Study.load(path))

    return plan


def test_a_world_fills_the_region_that_the_study_names(planned: Callable[..., Photos]) -> None:
    examples = planned().examples
    for example in examples[:-1]:
        (edit,) = example.worlds["strip"]["image"].edits
        assert edit.boxes == ((6.0, 6.0, 10.0, 12.0),)
    assert "own" in examples[-1].absent["strip"]


def test_its_placebo_is_as_large_and_away_from_persons(planned: Callable[..., Photos]) -> None:
    plan = planned(image="placebo")
    made = [e for e in plan.examples if "strip" in e.worlds]
    assert len(made) > 10
    persons = person_regions(plan.examples)
    for example in made:
        (edit,) = example.worlds["strip"]["image"].edits
        size = example.targets["size"]
        away = ~persons[example.id].pixels(size)
        filled = np.zeros_like(away)
        for x0, y0, x1, y1 in edit.boxes:
            filled[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
        assert filled.sum() == 4 * 6
        assert away[filled].all()


def test_mitigations_find_the_region_and_its_placebo(planned: Callable[..., Photos]) -> None:
    plan = planned()
    carrying = carrying_regions(plan.examples, plan.regions, seed=0)
    picture = carrying[0].worlds["null"]["image"]
    names = {region.name for region in picture.regions}
    assert {"person", "placebo-person", "own", "placebo-own"} <= names


def test_what_is_missing_is_named_before_photos_are_read(planned: Callable[..., Photos]) -> None:
    with pytest.raises(BadStudy, match=r"\[regions\]") as caught:
        planned(end=OWN.replace('[regions]\nown = "boxes.json"\n', ""))
    assert caught.value.field == "worlds.strip.region"
    with pytest.raises(BadStudy, match="a file that exists"):
        planned(end=OWN.replace("boxes.json", "nowhere.json"))
    with pytest.raises(BadStudy, match=r"regions\.face"):
        planned(end=OWN.replace('own = "boxes.json"', 'own = "boxes.json"\nface = "mine"'))


def test_boxes_that_cannot_be_are_refused_with_the_photo(planned: Callable[..., Photos]) -> None:
    with pytest.raises(BadData, match="has no entry"):
        planned({})
    with pytest.raises(BadData, match="photo ids to lists of boxes"):
        planned([[1, 2, 3, 4]])
