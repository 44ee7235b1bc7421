"""The scripts that run a published study work from the command line to their printed tables."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from vlbias.data.scene_folder import write_scenes
from vlbias.data.scenes import SceneSpec
from vlbias.store.run_folder import Run

pytestmark = pytest.mark.integration

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
STUDY = """
kind = "bias"
name = "scenes"
model = "planted-dual-image"
prompt = "template"
contrasts = [
  "null->mask-gender", "null->replace-gender", "null->both", "null->placebo-image", "null->placebo-text",
]
mediators = ["image_encoder", "text_encoder", "image_encoder/attn.0"]
shard_size = 100
[dataset]
name = "scenes"
path = "scenes"
[operating_point]
rule = "fpr"
value = 0.1
split = "dev"
min_negatives = 20
min_events = 2
"""
MITIGATIONS = """
kind = "mitigation"
name = "mitigations"
model = "planted-dual-image"
prompt = "template"
[dataset]
name = "scenes"
path = "scenes"
[operating_point]
rule = "fpr"
value = 0.1
[mitigation]
methods = [{ name = "text-neutral" }]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    write_scenes(folder / "scenes", SceneSpec(photos=400, seed=5, co_occurrence=0.0))
    (folder / "study.toml").write_text(STUDY)
    (folder / "mitigations.toml").write_text(MITIGATIONS)
    return folder


def printed(
    script: str, *arguments: object, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    patch.syspath_prepend(EXPERIMENTS)
    patch.setattr(sys, "argv", [script, *map(str, arguments)])
    try:
        runpy.run_path(str(EXPERIMENTS / script), run_name="__main__")
    finally:
        sys.modules.pop("script", None)
    return capsys.readouterr().out


def test_mediation_prints_shares_beside_the_papers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (folder / "study.toml", "--out", folder / "runs", "--draws", 50)
    said = printed("mediation.py", *arguments, patch=monkeypatch, capsys=capsys)
    (row,) = (line for line in said.splitlines() if line.startswith("| image features"))
    assert "32.570" in row
    assert "nan" not in row
    assert "| null->mask-gender | image_encoder | NIE" in said
    assert Run(folder / "runs" / "scenes").missing == []


def test_benchmark_runs_worlds_without_mediators(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (folder / "study.toml", "--out", folder / "runs", "--draws", 50)
    said = printed("benchmark.py", *arguments, patch=monkeypatch, capsys=capsys)
    assert "| null |" in said
    assert Run(folder / "runs" / "scenes-worlds").manifest["mediators"] == {}


def test_mitigation_estimates_its_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (folder / "mitigations.toml", "--out", folder / "runs", "--dry-run")
    said = printed("mitigation.py", *arguments, patch=monkeypatch, capsys=capsys)
    assert "estimated time" in said or "min" in said
