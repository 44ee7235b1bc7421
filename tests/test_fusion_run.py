"""A study of a fusion encoder from `vlbias init` to its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_photos
from explained import unexplained
from tiny_fusion import write_fusion
from typer.testing import CliRunner

from vlbias.cli import app
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def call(*arguments: object) -> str:
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert answer.exit_code == 0, (answer.output, answer.exc_info)
    return answer.output


@pytest.mark.parametrize(
    ("kind", "mediator"),
    [("blip", "fusion_encoder/image_to_text.*"), ("vilt", "fusion_encoder/head.*[*]")],
)
def test_a_study_begins_runs_and_is_read(kind: str, mediator: str, tmp_path: Path) -> None:
    model = write_fusion(kind, tmp_path / "models" / kind)
    photos = tiny_photos.write_photos(tmp_path / "photos", 24)
    study = tmp_path / "study.toml"
    call("init", photos, "--model", model, "--out", study)
    assert mediator in lifecycle.read_study(study).mediators
    text = study.read_text().replace("min_negatives = 10", "min_negatives = 1")
    study.write_text(text)
    assert "whole stage" in call("list", "mediators", model)
    result = lifecycle.run(study, tmp_path / "runs")
    run = Run(result.folder)
    assert run.missing == []
    contrast = next(c for c in lifecycle.read_study(study).contrasts if "both" in c)
    null, other = (run.slab(contrast, "", arm) for arm in ("00", "11"))
    assert np.isfinite(null).all()
    # what either root passes on moves scores
    roots = [name for name in run.mediators(contrast) if name.startswith(("image_", "text_"))]
    assert roots
    seen = [run.slab(contrast, name, "01") for name in roots]
    assert all((each != null).any() for each in seen)
    assert (other != null).any()
    call("report", result.folder, "--out", tmp_path / "page")
    assert unexplained(tmp_path / "page" / "tables") == set()
