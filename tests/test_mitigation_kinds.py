"""Studies of mitigations on a generative model and on a fusion encoder, at tokens of the photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_photos
from tiny_fusion import write_fusion
from tiny_image_text import write_image_text
from typer.testing import CliRunner

from vlbias.cli import app
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.mitigation.results import Conditions

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STUDY = """
name = "kinds"
model = "{model}"
min_group = 2
{asked}
objects = ["bicycle", "umbrella"]
[dataset]
path = "{photos}"
limit = 24
[operating_point]
rule = "fpr"
value = 0.4
min_negatives = 1
min_events = 0
[mitigation]
strengths = [1.0]
timed = 2
batch = 4
[[mitigation.methods]]
name = "feature-blur"
[[mitigation.methods]]
name = "text-neutral"
[[mitigation.methods]]
name = "leace"
options.sites = ["{site}"]
[[mitigation.methods]]
name = "steering"
options.sites = ["{site}"]
[[mitigation.methods]]
name = "sae"
options = {{ sites = ["{site}"], k = 4, steps = 20, most = 4 }}
"""
KINDS = {
    "llava": (write_image_text, 'prompt = "question+person"', "lm/resid.1@image"),
    "flava": (write_fusion, "", "fusion_encoder/resid.0@image"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_runs_and_has_its_placebo(kind: str, tmp_path: Path) -> None:
    write, asked, site = KINDS[kind]
    model = write(kind, tmp_path / "models" / kind)
    photos = tiny_photos.write_photos(tmp_path / "photos", 48, splits=3)
    study = tmp_path / "study.toml"
    study.write_text(STUDY.format(model=model, photos=photos, asked=asked, site=site))
    result = lifecycle.run(study, tmp_path / "runs")
    run = Run(result.folder)
    stored = Conditions(run)
    frame = stored.frame
    assert set(frame["method"]) == {"", "feature-blur", "text-neutral", "leace", "steering", "sae"}
    kept = (run.samples["split"] != "fit").to_numpy()
    none = stored.scores("none", "presence", run.targets)[kept]
    assert not np.isnan(none).any()
    for name in frame["name"][1:]:
        other = stored.scores(name, "presence", run.targets)[kept]
        seen = ~np.isnan(other)
        assert seen.any(), name
        assert (other[seen] != none[seen]).any(), name
    answer = CliRunner().invoke(app, ["report", str(result.folder), "--out", str(tmp_path / "p")])
    assert answer.exit_code == 0, (answer.output, answer.exc_info)
