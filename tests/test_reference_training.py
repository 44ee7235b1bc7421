"""The training loop of the reference model: determinism, kill and resume, early stopping.

Random weights and drawn rectangles: nothing here says how good the real model is.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_parts import (
    EXPERIMENTS,
    bank,
    draw_photos,
    dual,
    finished,
    photos,
    sources,
    tiny_text,
    tiny_vision,
    train,
)
from transformers import VisionTextDualEncoderModel

from vlbias.errors import BadData, BadModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    return draw_photos(root)


def tiny_settings(**changes: Any) -> Any:
    chosen = {"pixels": 8, "epochs": 3, "batch": 3, "views": 2, "vision_blocks": 1}
    return train.Settings(**{**chosen, "text_blocks": 1, **changes})


def tiny_trainer(folder: Path, **changes: Any) -> Any:
    settings = tiny_settings(**changes)
    corpus = photos.read_corpus(folder)
    fit = corpus.split("fit")
    text, tokenizer = tiny_text()
    model = dual.join(tiny_vision(), text)
    images = [photos.decode(photo) for photo in fit]
    plan = bank.plan_views(
        fit, [(60, 80)] * len(fit), 2, np.ones(3), np.random.default_rng(settings.seed)
    )
    kept = bank.fill_bank(model, fit, images, plan, blocks=2, categories=3)
    pooled = dual.upper_blocks(model, kept.hidden[:, 0].float(), 2).detach()
    dual.start_projections(model, tokenizer, pooled, [photo.captions for photo in fit])
    return train.Trainer(model, tokenizer, corpus, kept, settings)


def total_of(model: Any) -> float:
    """A number that every weight has a part in."""
    return sum(float(p.detach().double().abs().sum()) for p in model.parameters())


def run(trainer: Any, checkpoint: Path, report: Callable[[], None] = lambda: None) -> None:
    """Trains with a score that is better at every call, so that the last epoch is the best."""
    calls = itertools.count()
    trainer.run(
        lambda: {"score": float(next(calls)), "total": total_of(trainer.model)}, checkpoint, report
    )


def test_the_same_seed_gives_the_same_weights(folder: Path, tmp_path: Path) -> None:
    totals = []
    for number, seed in enumerate((0, 0, 1)):
        trainer = tiny_trainer(folder, seed=seed)
        before = total_of(trainer.model)
        run(trainer, tmp_path / f"{number}.pt")
        totals.append([row["dev_total"] for row in trainer.progress.history])
        assert totals[-1][-1] != before
    assert totals[0] == totals[1]
    assert totals[0] != totals[2]


@pytest.mark.parametrize("step", [1, 4, 6])
def test_a_killed_run_ends_where_an_unbroken_one_does(
    folder: Path, tmp_path: Path, step: int
) -> None:
    unbroken = tiny_trainer(folder)
    run(unbroken, tmp_path / "unbroken.pt")
    assert unbroken.steps == 3

    class Killed(BaseException):
        pass

    left = [step]

    def report() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with pytest.raises(Killed):
        run(tiny_trainer(folder), tmp_path / "killed.pt", report)
    (tmp_path / "killed.partial").write_bytes(b"half a checkpoint")
    resumed = tiny_trainer(folder)
    run(resumed, tmp_path / "killed.pt")
    assert [row["dev_total"] for row in resumed.progress.history] == [
        row["dev_total"] for row in unbroken.progress.history
    ]
    for name, weight in unbroken.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_training_stops_when_dev_no_longer_improves(folder: Path, tmp_path: Path) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.25])
    trainer = tiny_trainer(folder, epochs=20, patience=2)
    kept: list[dict[str, torch.Tensor]] = []

    def measured() -> dict[str, float]:
        kept.append({n: p.detach().clone() for n, p in trainer.model.named_parameters()})
        return {"score": next(scores)}

    progress = trainer.run(measured, tmp_path / "checkpoint.pt")
    assert (progress.epoch, progress.best_epoch) == (4, 1)
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, kept[1][name]), name


def test_a_checkpoint_of_other_photos_is_refused(folder: Path, tmp_path: Path) -> None:
    run(tiny_trainer(folder, epochs=1), tmp_path / "checkpoint.pt")
    captions = json.loads((folder / "captions.json").read_text())
    captions["annotations"][2]["caption"] = "a small cat"
    (folder / "captions.json").write_text(json.dumps(captions))
    with pytest.raises(BadData, match="other data"):
        run(tiny_trainer(folder, epochs=1), tmp_path / "checkpoint.pt")


def test_frozen_parts_stay_and_upper_parts_move(folder: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(folder)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    run(trainer, tmp_path / "checkpoint.pt")
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved <= set(trainer.trainable)
    assert not any(".layer.0." in name or "embeddings" in name for name in moved)
    for part in ("vision_model.encoder.layer.2", "text_model.encoder.layer.1", "projection"):
        assert any(part in name for name in moved), part


@pytest.mark.slow
def test_the_real_model_beats_chance_in_one_epoch(tmp_path: Path) -> None:
    place = os.environ.get("VLBIAS_COCO_PEOPLE")
    real = Path(place) if place else EXPERIMENTS.parents[1] / "shared" / "data" / "coco-people"
    if not real.is_dir():
        pytest.skip(f"the photos are not at {real}; set VLBIAS_COCO_PEOPLE")
    for wheel, name in (
        (sources.IMAGE_WHEEL, sources.IMAGE_FILE),
        (sources.TEXT_WHEEL, sources.TEXT_FILE),
    ):
        if sources.wheel_file(wheel, name) is None:
            pytest.skip(f"{wheel} is not installed")
    script, out = EXPERIMENTS / "reference_dual_encoder.py", tmp_path / "model"
    options = ["--photos", str(real), "--out", str(out), "--epochs", "1", "--views", "2"]
    subprocess.run([sys.executable, str(script), *options], check=True)
    rows = {row["name"]: row for row in json.loads((out / "training.json").read_text())["test"]}
    first = next(row for name, row in rows.items() if "{object}" in name)
    assert first["value"] > 3 * first["chance"]
    assert VisionTextDualEncoderModel.from_pretrained(out).config.vision_config.image_size == 112


def test_a_finished_model_is_not_trained_again(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    record = {"settings": {"epochs": 8}, "weights_sha256": sources.sha256_of(weights)}
    assert not finished.is_finished(tmp_path, {"epochs": 8})
    (tmp_path / "training.json").write_text(json.dumps(record))
    assert finished.is_finished(tmp_path, {"epochs": 8})
    with pytest.raises(BadModel, match="holds a model with epochs 8, asked for is 9"):
        finished.is_finished(tmp_path, {"epochs": 9})
    weights.write_bytes(b"other")
    with pytest.raises(BadModel, match="not what was saved"):
        finished.is_finished(tmp_path, {"epochs": 8})
