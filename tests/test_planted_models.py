"""The models that come with the package have the bias that was planted in them, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlbias.causal.example import Picture
from vlbias.data.pictograms import OBJECTS as EVERY
from vlbias.data.prompts import PROMPTS, Prompt
from vlbias.data.scenes import LINKED, SceneSpec, draw_scene
from vlbias.models import MODELS, load_model
from vlbias.studies.mitigation.work.passes import readouts
from vlbias.studies.planted.plants import FAMILIES, TRUTH

PLANTED = [name for name in MODELS if name.startswith("planted-")]
SLOW = ("planted-detector-both", "planted-detector-unbiased")
OBJECTS = [name for names in LINKED.values() for name in names]
SIGN = np.array([1 if name in LINKED["feminine"] else -1 for name in OBJECTS])
FOLDERS = {name: Path(dict(MODELS.entry(name).options)["checkpoint"]) for name in PLANTED}


def scored(model: Any, images: list[Image.Image], word: str) -> np.ndarray:
    """Logits of `OBJECTS`, asked for as studies of the model's family ask."""
    prompt = Prompt("planted", PROMPTS[FAMILIES[model.name.split("-")[1]]], {}, word)
    text = prompt.texts([], "", list(EVERY))
    found = readouts(model, [{"image": Picture(image), "text": text} for image in images], 50)
    logits = torch.cat([readout["class_logits"] for _, readout in found])
    return logits[:, [list(EVERY).index(name) for name in OBJECTS]].numpy()


@pytest.mark.integration
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PLANTED],
)
def test_a_cue_moves_the_model_where_it_was_planted_and_nowhere_else(name: str) -> None:
    model = load_model(name)
    spec = SceneSpec(seed=31, co_occurrence=0.0)
    scenes = [draw_scene(spec, number) for number in range(160)]
    neutral = [scene.render("neutral") for scene in scenes]
    image = sum(
        sign * scored(model, [scene.render(shown) for scene in scenes], "person")
        for shown, sign in (("feminine", 1), ("masculine", -1))
    )
    text = scored(model, neutral, "woman") - scored(model, neutral, "man")
    moved = {"image_encoder": image @ SIGN, "text_encoder": text @ SIGN}
    about = json.loads((FOLDERS[name] / "planted.json").read_text())
    for route, change in moved.items():
        size = float(change.mean()) / len(OBJECTS)
        if route in TRUTH[about["plant"]]:
            assert size > 0.4
        else:
            assert abs(size) < 0.1
        # what the folder says was measured on other scenes
        said = about["measured"][f"cue_{route.partition('_')[0]}"]
        assert size == pytest.approx(said, abs=0.25)


def test_all_of_them_are_small() -> None:
    files = [file for folder in FOLDERS.values() for file in folder.iterdir()]
    assert sum(file.stat().st_size for file in files) < 12e6
    assert {name.split("-")[1] for name in PLANTED} <= set(FAMILIES)
