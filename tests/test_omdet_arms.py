"""The engine's arms of OmDet-Turbo, and the scores and boxes of the library."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from detector_arms import run
from engine_and_naive import compared_arms
from PIL import Image
from tiny_detectors import OMDET_LIMIT, grounded
from tiny_photos import CLASSES, pictures, sides
from torch import Tensor

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, GroundedText, Inputs, Picture
from vlbias.causal.site import Mediator
from vlbias.models import load_model

pytestmark = pytest.mark.integration


def test_the_cache_of_texts_is_neither_filled_nor_read(model_folder: Any) -> None:
    model: Any = load_model(str(model_folder("omdet-turbo")))
    inputs = grounded(sides(1)[0][0])
    worlds = {"null": inputs, "both": inputs}
    before = run(model, worlds, [])["", "00"]
    caches = model.net.language_cache_class, model.net.language_cache_prompt
    assert [len(cache.cache) for cache in caches] == [0, 0]
    theirs(model, [inputs["image"]], CLASSES, [""])
    for cache in caches:
        assert cache.cache
        for key in cache.cache:
            cache.cache[key] = None
    after = run(model, worlds, [])["", "00"]
    assert all(torch.equal(before[key], after[key]) for key in before)


def theirs(
    model: Any, images: list[Picture], names: tuple[str, ...], captions: list[str]
) -> list[dict[str, Tensor]]:
    """Every box and class of the library's processor, forward pass and post-processing, by score."""
    from transformers import OmDetTurboProcessor

    processor = OmDetTurboProcessor(model._processor, model.reader.tokenizer)
    opened = [image.open() for image in images]
    read = processor(
        images=opened,
        text=[list(names)] * len(images),
        task=[f"{caption}Detect {', '.join(names)}." for caption in captions],
        return_tensors="pt",
        padding="max_length",
        truncation=True,
        max_length=OMDET_LIMIT,
    )
    read.pop("pixel_mask")
    with torch.inference_mode():
        raw = model.net(**read)
    found: list[dict[str, Tensor]] = processor.post_process_grounded_object_detection(
        raw,
        threshold=0.0,
        nms_threshold=1.0,  # nothing is suppressed
        target_sizes=[(image.height, image.width) for image in opened],
        max_num_det=model.net.config.num_queries * len(names),
    )
    return found


def test_scores_and_boxes_are_those_of_the_library(model_folder: Any) -> None:
    """The model's own processor, forward pass and post-processing, captions of two lengths."""
    model: Any = load_model(str(model_folder("omdet-turbo")))
    names = ("dog", "hot dog", "cup", "stop sign")
    captions = ["a man with a dog. ", "a very big horse on the street near a man. "]
    images = pictures(2, size=(50, 30))
    expected = theirs(model, images, names, captions)
    for image, caption, library in zip(images, captions, expected, strict=True):
        inputs = {"image": image, "text": GroundedText(caption, names)}
        ours = run(model, {"null": inputs, "both": inputs}, [])["", "00"]
        scores, order = ours["class_prob"][0].flatten().sort(descending=True)
        size = torch.tensor([50.0, 30, 50, 30])
        boxes = ours["boxes"][0][order // len(names)].clamp(min=0).minimum(size)
        assert len(scores) == len(library["scores"]) == 6 * len(names)
        torch.testing.assert_close(scores, library["scores"])
        # boxes of equal scores come in any order
        apart = (scores.diff().abs() > 1e-5).nonzero().flatten()
        apart = apart[torch.isin(apart + 1, apart)] + 1
        assert len(apart) > 10
        torch.testing.assert_close(boxes[apart], library["boxes"][apart], atol=1e-4, rtol=1e-4)
        assert torch.equal((order % len(names))[apart], library["labels"][apart])


SITES = (
    "image_encoder",
    "image_encoder/attn.1",
    "image_encoder/head.2[1]",
    "hybrid_encoder",
    "hybrid_encoder/projection.0",
    "hybrid_encoder/head.0[1]",
    "text_encoder",
    "text_encoder/mlp.0",
    "text_encoder/head.1[0]@3",
    "text_encoder/resid.0@-2",
    "text_encoder/task",
    "text_encoder/classes",
    "decoder",
    "decoder/fused.0",
    "decoder/head.1[1]",
    "decoder/vision_head.0[2]",
    "decoder/query_stream.0",
    "image_encoder+text_encoder",
    "hybrid_encoder+text_encoder",
    "text_encoder/attn.1+decoder/mlp.0",
    "hybrid_encoder/mlp.0+decoder/vision_attn.1",
)


def test_the_engine_equals_one_hook_per_forward(load: Any) -> None:
    base, cf = (list(map(grounded, side)) for side in sides(2))
    mediators = [Mediator.of(site.split("+")) for site in SITES]
    cuts = {"decoder", "image_encoder+text_encoder", "hybrid_encoder+text_encoder"}
    arms = compared_arms(load("omdet-turbo"), base, cf, mediators, cuts)
    moved = set()
    for mediator in mediators:
        null, mediated = arms["", "00"].readout, arms[mediator.name, "01"].readout
        if (null["class_logits"] - mediated["class_logits"]).abs().max() > 1e-3:
            moved.add(mediator.name)
    # class names, the last of a row's texts, are the same in both worlds: the task brings the caption
    still = {"text_encoder/classes", "text_encoder/resid.0@-2"}
    assert moved == {mediator.name for mediator in mediators} - still


def test_worlds_whose_texts_differ_in_length_are_misaligned(load: Any) -> None:
    image, texts = pictures(1)[0], {"null": "a man. ", "both": "a very big man. "}
    worlds: dict[str, Inputs] = {
        name: {"image": image, "text": GroundedText(text, CLASSES)} for name, text in texts.items()
    }
    contrast, example = Contrast("null", "both"), Example("0", "0", worlds)
    mediators = [Mediator.of([site]) for site in ("text_encoder", "decoder/fused.0")]
    altered = {contrast: frozenset({"text"})}
    for arm in Engine(load("omdet-turbo"), [contrast], mediators, altered=altered).run([example]):
        assert bool(arm.misaligned.all()) == bool(arm.mediator)
        assert bool(arm.readout["class_logits"].isnan().all()) == bool(arm.mediator)


def test_a_list_in_several_pieces_is_merged_by_class(load: Any) -> None:
    model, names = load("omdet-turbo"), ("dog", "cup", "horse", "umbrella", "stop sign") * 3
    inputs = {"image": pictures(1)[0], "text": GroundedText("a man. ", names)}
    pieces = [piece for _, piece in model.split(inputs)["model"]]
    assert [len(piece.names) for piece in pieces] == [8, 7]
    merged = run(model, {"null": inputs, "both": inputs}, [])["", "00"]
    assert merged["boxes"].shape == (1, 12, 4)
    for number, piece in enumerate(pieces):
        alone = {**inputs, "text": GroundedText("a man. ", piece.names)}
        expected = run(model, {"null": alone, "both": alone}, [])["", "00"]
        boxes = slice(6 * number, 6 * number + 6)
        classes = slice(piece.first, piece.first + len(piece.names))
        found = merged["class_prob"][:, boxes, classes]
        torch.testing.assert_close(found, expected["class_prob"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(merged["class_logits"][:, classes], expected["class_logits"])


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (333, 2)])
def test_images_of_any_shape_give_boxes_inside_their_frame(
    load: Any, size: tuple[int, int]
) -> None:
    image = Picture(Image.new("RGB", size, (200, 10, 90)))
    inputs = {"image": image, "text": GroundedText("", CLASSES)}
    readout = run(load("omdet-turbo"), {"null": inputs, "both": inputs}, [])["", "00"]
    centre = readout["boxes"].view(-1, 2, 2).mean(1)
    assert bool((centre >= 0).all())
    assert bool((centre <= torch.tensor(size)).all())
    assert bool(readout["class_logits"].isfinite().all())
