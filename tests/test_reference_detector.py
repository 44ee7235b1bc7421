"""The builder of the reference detector, on drawn rectangles and random encoders.

Nothing here says how good the real detector is.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_detector_parts import NAMES, detector_evaluate, tiny_encoders
from reference_parts import EXPERIMENTS, draw_photos, photos
from tiny_detectors import bert_tokenizer

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.models import load_model

pytestmark = pytest.mark.integration
SMALL = (
    "--rate-text 2e-5 --pixels 28 --epochs 2 --batch 4 --views 3 --width 32 --layers 2 --queries 5"
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, with tiny encoders instead of the published ones."""
    spec = spec_from_file_location("reference_detector", EXPERIMENTS / "reference_detector.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    vision, text = tiny_encoders()
    monkeypatch.setattr(sys.modules["reference.measure"], "LEAST", 1)  # three photos a split
    monkeypatch.setattr(module, "load_vision", lambda: (vision, {"name": "tiny"}))
    monkeypatch.setattr(module, "load_text", lambda: (text, bert_tokenizer(), {"name": "tiny"}))
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    draw_photos(root)
    table = json.loads((root / "instances.json").read_text())
    for each, name in zip(table["categories"], NAMES, strict=True):
        each["name"] = name
    (root / "instances.json").write_text(json.dumps(table))
    return root


def run(script: Any, folder: Path, out: Path) -> dict[str, Any]:
    arguments = ["--photos", str(folder), "--out", str(out), "--device", "cpu", *SMALL.split()]
    assert script.main(arguments) == 0
    record: dict[str, Any] = json.loads((out / "training.json").read_text())
    return record


def test_the_built_folder_is_a_model_that_finds_what_training_measured(
    script: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run(script, folder, tmp_path / "model")
    assert "ap50" in capsys.readouterr().out
    assert len(record["history"]) == 2
    assert all(np.isfinite(value) for epoch in record["history"] for value in epoch.values())
    model: Any = load_model(str(tmp_path / "model"))
    corpus = photos.read_corpus(folder)
    chosen = corpus.split("test")
    examples = [
        Example(
            str(photo.id),
            str(photo.id),
            {
                "null": {
                    "image": Picture(photo.path),
                    "text": GroundedText(f"{photo.captions[0]}. ", NAMES),
                }
            },
        )
        for photo in chosen
    ]
    contrast = Contrast("null", "null")
    readout = next(iter(Engine(model, [contrast], [], altered={}).run(examples))).readout
    from vlbias.analysis.box_precision import average_precision
    from vlbias.outcomes.best_boxes import best_boxes

    best = best_boxes(readout, 100)
    frame = script_frame(best, [str(photo.id) for photo in chosen])
    truth = detector_evaluate.truth_frame(chosen, NAMES)
    ap = average_precision(truth, frame, [str(photo.id) for photo in chosen], NAMES)
    # features were kept in half precision
    assert ap.ar == pytest.approx(record["test"]["ar"], abs=0.02)


def script_frame(best: Any, ids: list[str]) -> Any:
    import pandas as pd

    frame = pd.DataFrame(best.corners, columns=["x0", "y0", "x1", "y1"])
    frame["score"] = best.score
    frame["target"] = np.array(NAMES, dtype=object)[best.target]
    frame["sample_id"] = np.array(ids, dtype=object)[best.row]
    return frame


def test_a_killed_training_goes_on_where_it_was(
    script: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(script, folder, tmp_path / "whole")
    trainer: Any = script.DetectorTrainer
    epoch = trainer.epoch

    def dies(self: Any, report: Any) -> Any:
        if self.progress.epoch == 1:
            raise KeyboardInterrupt
        return epoch(self, report)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "epoch", dies)
        with pytest.raises(KeyboardInterrupt):
            run(script, folder, tmp_path / "killed")
    resumed = run(script, folder, tmp_path / "killed")
    assert resumed["restored_s"][0] > 0
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert resumed["test"] == whole["test"]


def test_what_is_trained_and_what_stays(script: Any, folder: Path, tmp_path: Path) -> None:
    run(script, folder, tmp_path / "model")
    model: Any = load_model(str(tmp_path / "model"))
    vision, text = tiny_encoders()
    backbone = model.net.model.backbone.conv_encoder.model.state_dict()
    for name, weight in script.at_pixels(vision, 28).state_dict().items():
        assert torch.equal(backbone[name], weight), name
    learned = dict(model.net.model.text_backbone.named_parameters())
    assert any(not torch.equal(learned[n], p) for n, p in text.named_parameters() if n in learned)


def test_a_frozen_text_encoder_stays(script: Any, folder: Path, tmp_path: Path) -> None:
    arguments = ["--photos", str(folder), "--out", str(tmp_path / "model"), "--device", "cpu"]
    assert script.main([*arguments, *SMALL.split(), "--rate-text", "0"]) == 0
    model: Any = load_model(str(tmp_path / "model"))
    learned = dict(model.net.model.text_backbone.named_parameters())
    for name, parameter in tiny_encoders()[1].named_parameters():
        if name in learned:
            assert torch.equal(learned[name], parameter), name
