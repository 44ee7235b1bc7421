"""Groups other than gender, and an intersection, through a whole run and its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import annotated_sets
import numpy as np
import pytest
from PIL import Image

from vlbias.errors import BadStudy
from vlbias.store.run_folder import Run
from vlbias.studies.lifecycle import load_study, make_plan, run
from vlbias.studies.reporting import report

pytestmark = pytest.mark.integration

STUDY = """
name = "annotated"
model = "{model}"
prompt = "template"
contrasts = ["null->mask-gender"]
mediators = ["image_encoder"]
min_group = 4
[dataset]
name = "facet"
path = "facet"
group = "{group}"
groups = {groups}
splits = ["dev", "test"]
[operating_point]
value = 0.3
split = "dev"
report = ["test"]
min_negatives = 3
min_events = 0.5
"""


@pytest.fixture(scope="module")
def facet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 photos of one person each, in four crossed groups."""
    home = tmp_path_factory.mktemp("annotated")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(160):
        masc, dark = i % 2 == 0, i % 4 < 2
        rows.append(
            {"person_id": i, "filename": f"{i:03d}.jpg", "class1": ("nurse", "lawman", "singer")[i % 3],
             "class2": "", "gender_presentation_masc": 3 * masc, "gender_presentation_fem": 3 * (not masc),
             "gender_presentation_non_binary": 0, "gender_presentation_na": 0,
             **{f"skin_tone_{k}": int(k == (9 if dark else 2)) for k in range(1, 11)},
             "age_presentation_young": 1, "age_presentation_middle": 0, "age_presentation_older": 0,
             "bounding_box": json.dumps({"x": 4, "y": 4, "width": 12, "height": 20})}
        )  # fmt: skip
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (home / "facet" / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(home / "facet" / "images" / f"{i:03d}.jpg")
    annotated_sets.write_rows(home / "facet" / "annotations" / "annotations.csv", rows)
    return home


@pytest.mark.parametrize(
    ("group", "groups"),
    [
        ("gender", ["masculine", "feminine"]),
        ("skin", ["lighter", "darker"]),
        ("gender × skin", ["masculine × lighter", "feminine × darker", "masculine × darker"]),
    ],
)
def test_groups_go_through_a_whole_run(
    group: str, groups: list[str], facet: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    text = STUDY.format(model=model_folder("dinov2-bert"), group=group, groups=json.dumps(groups))
    (facet / "annotated.toml").write_text(text)
    found = Run(run(facet / "annotated.toml", tmp_path).folder)
    assert set(found.samples["group"]) == set(groups)
    assert "allows evaluation; forbids training" in found.manifest["data"]["meta"]["terms"]
    page = report(found.folder, draws=30)
    shown = page.html.read_text()
    assert all(name in shown for name in groups)
    assert "data:image/jpeg" not in shown, "no photo of the set stands on the page"


def test_a_reader_without_the_choice_refuses_it(
    study_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = study_file(("[dataset]", '[dataset]\ngroup = "skin"'))
    with pytest.raises(BadStudy, match=r"dataset\.group"):
        make_plan(load_study(path))
