from __future__ import annotations

from typing import Any

import pytest
import torch
from contract import failed
from detector_arms import run
from naive import naive_arms
from tiny_detectors import OWLS
from tiny_photos import pictures, sides

from vlbias.causal.conformance import conformance
from vlbias.causal.example import GroundedText, Inputs, mix
from vlbias.causal.site import Mediator
from vlbias.errors import BadModel, BadStudy

NAMES = ("a dog", "a cup", "a big horse")


def per_class(inputs: Inputs) -> Inputs:
    """One text for each class, told by the first words of the inputs' own text."""
    texts = tuple(f"{inputs['text']} and {name}" for name in NAMES)
    return mix(inputs, {"text": texts}, {"text"})


@pytest.mark.integration
@pytest.mark.parametrize("name", OWLS)
def test_owls_keep_the_contract(load: Any, name: str) -> None:
    base, cf = (list(map(per_class, side)) for side in sides(2))
    assert failed(conformance(load(name), base, cf)) == {}


@pytest.mark.parametrize("name", OWLS)
def test_scores_and_boxes_are_those_of_the_library(load: Any, name: str) -> None:
    """The model's own forward pass and post-processing, on an image that is no square."""
    model = load(name)
    picture, count = pictures(1)[0], len(NAMES)
    batch = model.collate("text_encoder", NAMES)
    pixels = model.collate("image_encoder", [picture])["pixel_values"]
    with torch.inference_mode():
        raw = model.net(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=pixels,
        )
    image = picture.open()
    theirs = model._processor.post_process_object_detection(
        raw, threshold=0.0, target_sizes=torch.tensor([(image.height, image.width)])
    )[0]
    inputs = {"image": picture, "text": NAMES}
    ours = run(model, {"null": inputs, "both": inputs}, [])["", "00"]
    assert ours["class_prob"].shape == (1, len(theirs["scores"]), count)
    torch.testing.assert_close(ours["boxes"][0], theirs["boxes"])
    torch.testing.assert_close(ours["class_prob"][0].max(1).values, theirs["scores"])
    assert torch.equal(ours["class_prob"][0].argmax(1), theirs["labels"])


def test_the_engine_equals_one_hook_per_forward(load: Any) -> None:
    model = load("owlv2")
    base, cf = (per_class(side[0]) for side in sides(1))
    sites = ("image_encoder", "image_encoder/head.1[0]", "text_encoder/mlp.0", "text_encoder")
    mediators = [Mediator.of([site]) for site in sites]
    found = run(model, {"null": base, "both": cf}, mediators)
    for mediator in mediators:
        for arm, expected in naive_arms(model, base, cf, mediator).items():
            key = ("" if arm in ("00", "11") else mediator.name, arm)
            for name, value in expected.items():
                torch.testing.assert_close(found[key][name], value, atol=1e-4, rtol=1e-4)


def test_a_caption_that_would_be_lost_is_refused(load: Any) -> None:
    model, image = load("owlv2"), pictures(1)[0]
    plain = model.split({"image": image, "text": GroundedText("", NAMES)})
    assert plain["text_encoder"] == NAMES
    with pytest.raises(BadStudy, match="prompt"):
        model.split({"image": image, "text": GroundedText("a man. ", NAMES)})
    with pytest.raises(BadModel, match="the model takes 16"):
        model.collate("text_encoder", ["a very " * 12 + "big dog"])
