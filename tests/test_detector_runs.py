"""Studies of a detector: from a TOML file to presence, kept boxes and average precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_photos
from explained import unexplained

from vlbias.analysis.box_precision import average_precision, group_gap
from vlbias.errors import BadStudy, BadTable
from vlbias.store.boxes import found_boxes, true_boxes
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle

pytestmark = pytest.mark.integration

Folder = Callable[[str], Path]
CHANGES = {
    'mediators = ["image_encoder", "text_encoder", "image_encoder/head.*[*]", "text_encoder/mlp.*"]': (
        'mediators = ["image_encoder", "text_encoder", "fusion_encoder", "fusion_encoder/text_stream.*"]\n'
        'prompt = "caption+categories"\nkeep_boxes = 10'
    ),
    '"null->both", "null->placebo-image",\n             "null->null"]': '"null->both", "null->null"]',
    'splits = ["dev", "test"]': 'splits = ["dev", "test"]\nlimit = 8',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Folder, photos: Path) -> Path:
    """The run folder of a study of a tiny detector; no test may change it."""
    out = tmp_path_factory.mktemp("detector")
    model = model_folder("grounding-dino-dinov2")
    return lifecycle.run(
        tiny_photos.write_study(out / "study.toml", model, photos, **CHANGES), out
    ).folder


def test_a_run_holds_presence_and_boxes(folder: Path) -> None:
    run = Run(folder)
    assert run.missing == []
    assert set(run.manifest["mediators"]) >= {"fusion_encoder", "fusion_encoder/text_stream.1"}
    cuts = {name for name, one in run.manifest["mediators"].items() if one["cut"]}
    assert cuts == {"fusion_encoder"}
    keys = run.manifest["cells"]
    found = found_boxes(folder, keys, "null->both", "", "00")
    assert found.groupby("sample_id").size().max() == 10
    assert found["sample_id"].nunique() == len(run.samples)
    # presence is the logit of the best box of a class
    best = found.groupby(["sample_id", "target"])["score"].max()
    scores = run.slab("null->both", "", "00")
    for (sample, target), score in best.items():
        row = run.samples.index[run.samples["sample_id"] == sample][0]
        logit = scores[row, run.targets.index(target)]
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(score, rel=1e-4)


def test_encoders_take_their_outcomes_from_the_worlds(folder: Path) -> None:
    run = Run(folder)
    for encoder, world in (("image_encoder", "mask-gender"), ("text_encoder", "replace-gender")):
        swapped = run.slab("null->both", encoder, "01")
        np.testing.assert_array_equal(swapped, run.slab(f"null->{world}", "", "11"))
    null = run.slab("null->null", "", "00")
    for mediator in run.mediators("null->null"):
        for arm in ("01", "10"):
            np.testing.assert_array_equal(run.slab("null->null", mediator, arm), null)


def test_average_precision_of_an_arm(folder: Path) -> None:
    run = Run(folder)
    truth = true_boxes(folder)
    assert set(truth["target"]) <= set(tiny_photos.CLASSES)
    found = found_boxes(folder, run.manifest["cells"], "null->both", "image_encoder", "01")
    samples = run.samples["sample_id"].tolist()
    one = average_precision(truth, found, samples, tiny_photos.CLASSES)
    assert 0 <= one.ap <= one.ap50 <= 1
    groups = run.samples.groupby("group")["sample_id"].agg(list).to_dict()
    gap = group_gap(truth, found, groups, ["person"])
    assert gap.loc["gap", "ap50"] == gap["ap50"].iloc[0] - gap["ap50"].iloc[1]


def test_the_page_of_a_detector_is_made(folder: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from vlbias.cli import app

    answer = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path)])
    assert answer.exit_code == 0, (answer.output, answer.exc_info)
    assert unexplained(tmp_path / "tables") == set()
    (table,) = (tmp_path / "tables").rglob("boxes.csv")
    boxes = pd.read_csv(table).set_index("world")
    run, others = Run(folder), [name for name in tiny_photos.CLASSES if name != "person"]
    samples = run.samples[run.samples["split"] == "test"]
    found = found_boxes(folder, run.manifest["cells"], "null->both", "", "11")
    one = average_precision(true_boxes(folder), found, samples["sample_id"].tolist(), others)
    row = boxes.loc["both"]
    assert [row[name] for name in ("AP", "AP50", "AP75", "AR")] == pytest.approx(
        [one.ap, one.ap50, one.ap75, one.ar], nan_ok=True
    )
    groups = {
        name: samples["sample_id"][samples["group"] == name].tolist()
        for name in ("masculine", "feminine")
    }
    gap = group_gap(true_boxes(folder), found, groups, others).loc["gap", "ap"]
    assert float(row["AP_gap"]) == pytest.approx(float(gap), nan_ok=True)
    assert boxes["AP_gap_p"].between(0, 1).all()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({'prompt = "caption+categories"': 'prompt = "caption"'}, "prompt"),
        ({"keep_boxes = 10": "keep_boxes = -1"}, "keep_boxes"),
    ],
)
def test_studies_that_cannot_be(
    tmp_path: Path, model_folder: Folder, photos: Path, changes: dict[str, str], field: str
) -> None:
    model = model_folder("grounding-dino-dinov2")
    path = tiny_photos.write_study(tmp_path / "study.toml", model, photos, **CHANGES)
    text = path.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    with pytest.raises(BadStudy, match=field):
        lifecycle.make_plan(lifecycle.read_study(path))


def test_a_model_without_boxes_keeps_none(study_file: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(BadStudy, match="keep_boxes"):
        lifecycle.make_plan(
            lifecycle.read_study(study_file(("min_group = 2", "min_group = 2\nkeep_boxes = 5")))
        )
    (folder / "objects.parquet").rename(folder / "hidden")
    with pytest.raises(BadTable, match="keep_boxes"):
        true_boxes(folder)
    (folder / "hidden").rename(folder / "objects.parquet")
