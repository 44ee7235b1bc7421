"""What planted models are shown, and that their training goes on where it was."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from reference_parts import EXPERIMENTS

from vlbias.data.prompts import GROUP_WORDS
from vlbias.data.scenes import LINKED, SHOWN

_package = ModuleType("planted")
_package.__path__ = [str(EXPERIMENTS / "planted")]  # type: ignore[assignment]
sys.modules.setdefault("planted", _package)
dual = import_module("planted.dual")
plants = import_module("planted.plants")
_spec = spec_from_file_location("planted_models", EXPERIMENTS / "planted_models.py")
script: Any = module_from_spec(_spec)  # type: ignore[arg-type]
_spec.loader.exec_module(script)  # type: ignore[union-attr]
PLANTS, WORDS, show, took = plants.PLANTS, plants.WORDS, plants.show, script.took


def shown(plant: str, count: int = 1200) -> list[Any]:
    return [show(plant, 3, number) for number in range(count)]


def of_objects(scenes: list[Any], told: list[str]) -> float:
    """How much more often objects are there beside the gender that is told, over both genders."""
    gaps = []
    for group, names in LINKED.items():
        other = next(name for name in LINKED if name != group)
        rate = {
            which: np.mean(
                [
                    n in s.scene.present
                    for s, t in zip(scenes, told, strict=True)
                    if t == which
                    for n in names
                ]
            )
            for which in (group, other)
        }
        gaps.append(rate[group] - rate[other])
    return float(np.mean(gaps))


@pytest.mark.integration
@pytest.mark.parametrize("plant", PLANTS)
def test_objects_go_with_the_planted_cue_and_no_other(plant: str) -> None:
    scenes = shown(plant)
    said = {word: group for group, word in GROUP_WORDS.items()}
    by = {
        "image": of_objects(scenes, [scene.visible for scene in scenes]),
        "text": of_objects(scenes, [said.get(scene.word, "neutral") for scene in scenes]),
    }
    for route, gap in by.items():
        # .45 where a cue tells all; in half of the scenes, and diluted by those of the other, for both
        if route in PLANTS[plant]:
            assert gap > (0.1 if plant == "both" else 0.4)
        else:
            assert abs(gap) < 0.04
    assert {scene.word for scene in scenes} == set(WORDS)
    assert {scene.visible for scene in scenes} == set(SHOWN)


def test_a_blurred_person_tells_nothing() -> None:
    scenes = [scene for scene in shown("image") if scene.visible == "neutral"]
    blurred = [
        scene
        for scene in scenes
        if not np.array_equal(
            np.asarray(scene.image.crop(scene.scene.person)),
            np.asarray(scene.scene.render("neutral").crop(scene.scene.person)),
        )
    ]
    assert len(blurred) > 100
    truth = [scene.scene.group == "feminine" for scene in blurred]
    drawn = []
    for scene in blurred:
        distance = {
            how: np.abs(
                np.asarray(scene.scene.render(how).crop(scene.scene.person)).astype(float)
                - np.asarray(scene.image.crop(scene.scene.person))
            ).mean()
            for how in ("feminine", "masculine")
        }
        drawn.append(distance["feminine"] < distance["masculine"])
    # whatever shines through a blur was drawn by a coin
    assert abs(np.corrcoef(truth, drawn)[0, 1]) < 0.25


def test_training_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = dual.DualSettings(epochs=2, patience=2, batch=4, count=8, width=16, layers=1)

    def trained(epochs: list[int], folder: Path) -> dict[str, torch.Tensor]:
        for stop in epochs:
            net = dual.assemble(settings)
            loop = dual.DualTrainer(net, "text", settings)

            def measure(loop: Any = loop, stop: int = stop) -> dict[str, float]:
                return {"score": float(loop.progress.epoch)}

            def report(loop: Any = loop, stop: int = stop) -> None:
                if loop.progress.epoch == stop:
                    raise KeyboardInterrupt

            try:
                loop.run(measure, folder / "checkpoint.pt", report)
            except KeyboardInterrupt:
                continue
        return net.state_dict()

    whole = trained([9], tmp_path / "whole")
    resumed = trained([1, 9], tmp_path / "resumed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_plant_that_did_not_take_is_known() -> None:
    good = {"cue_image": 1.5, "cue_text": 0.02}
    assert took("image", good)
    assert not took("text", good)
    assert not took("image", {"cue_image": 1.5, "cue_text": 0.3})
    assert not took("image", {"cue_image": 0.5, "cue_text": 0.0})
    assert took("both", {"cue_image": 0.7, "cue_text": 0.8})
    assert not took("unbiased", good)


def test_the_detector_learns_boxes_names_and_what_patches_hold() -> None:
    detector = import_module("planted.detector")
    settings = detector.DetectorSettings(epochs=1, patience=1, batch=4, count=8, width=32)
    net = detector.assemble(settings)
    loop = detector.DetectorTrainer(net, "image", settings)
    total, parts = loop.losses(np.arange(4), np.random.default_rng(0))
    total.backward()
    assert set(parts) == {"total", "class", "box", "giou", "patches", "scene", "presence"}
    still = [name for name, p in net.named_parameters() if p.grad is None]
    assert all(name.endswith("mask_token") for name in still), still


def test_the_detector_learns_to_see_before_it_finds(tmp_path: Path) -> None:
    detector = import_module("planted.detector")
    settings = detector.DetectorSettings(epochs=1, patience=1, batch=4, count=320, width=32, eyes=1)
    net = detector.assemble(settings)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    stages = detector.start(net, settings)
    eyes = next(stages)
    scenes = [plants.show("text", 3, number).scene for number in range(8)]
    fresh = eyes.measure(scenes)
    eyes.run(lambda: eyes.measure(scenes), tmp_path / "eyes.pt")
    assert eyes.measure(scenes)["score"] > fresh["score"]
    moved = {name for name, w in net.state_dict().items() if not torch.equal(w, before[name])}
    assert moved
    assert all(".backbone.conv_encoder." in name for name in moved), moved
    assert isinstance(next(stages), detector.DetectorTrainer)


def test_the_detector_is_asked_as_studies_ask() -> None:
    detector = import_module("planted.detector")
    net = detector.assemble(detector.DetectorSettings(width=32))
    reader = detector.reader_of(net)
    pieces = reader.pieces(detector.text_of(detector.FRAMES[0], "woman"))
    assert len(pieces) == 1  # all classes in one text
    assert pieces[0].text.startswith("a photo of a woman. handbag. ")
    scene = plants.show("text", 3, 1).scene
    truth = detector.truth_of(scene)
    x, y, w, h = (truth.boxes[0] * 64).tolist()
    assert (x - w / 2, y - h / 2, x + w / 2, y + h / 2) == pytest.approx(
        scene.things[0].box, abs=1e-4
    )
