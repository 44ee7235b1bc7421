"""Grounding DINO: its contract, its engine, and the scores and boxes of the library."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from contract import COMPLETE, ROOTS, ROWS, failed, text_bypasses_stages
from engine_and_naive import compared_arms
from PIL import Image
from tiny_detectors import GROUNDED, SEPARATORS, bert_tokenizer, grounded
from tiny_detectors import processor as processor_of
from tiny_photos import CLASSES, pictures, sides
from torch import Tensor

from vlbias.causal.conformance import conformance
from vlbias.causal.contrast import Contrast
from vlbias.causal.detection_readout import NEVER, class_logits, corners, detection_readout
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.causal.site import Mediator
from vlbias.models import load_model
from vlbias.models.check_adapter import check
from vlbias.models.grounding import GroundedDetector
from vlbias.models.phrases import PhraseReader

pytestmark = pytest.mark.integration


def test_a_detector_keeps_the_contract_with_a_plain_text(load: Any) -> None:
    assert failed(check(load("grounding-dino"))) == {}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if i else ()) for i, name in enumerate(GROUNDED)],
)
def test_detectors_keep_the_contract_with_captions_and_categories(load: Any, name: str) -> None:
    base, cf = sides(2)
    assert failed(conformance(load(name), list(map(grounded, base)), list(map(grounded, cf)))) == {}


def _mask_ignored(model: GroundedDetector) -> None:
    collate = model.collate

    def unmasked(tower: str, rows: Any) -> dict[str, Tensor]:
        batch = collate(tower, rows)
        return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}

    model.collate = unmasked  # type: ignore[method-assign]


def _stage_forgets_text(model: GroundedDetector) -> None:
    tower = model.towers[0]
    stages = tuple(
        replace(stage, parents=("image_encoder",)) if stage.name == "fusion_encoder" else stage
        for stage in tower.stages
    )
    model.towers = (replace(tower, stages=stages),)


def _decoder_left_out(model: GroundedDetector) -> None:
    tower = model.towers[0]
    model.towers = (replace(tower, stages=tower.stages[:2]),)
    stage = replace(tower.stages[1], module="model.text_backbone.encoder.layer.1.output.dense")
    model.towers = (replace(tower, stages=(tower.stages[0], replace(stage, blocks=()))),)


@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        (_mask_ignored, ROWS),
        pytest.param(text_bypasses_stages, COMPLETE, marks=pytest.mark.slow),
        (_stage_forgets_text, ROOTS),
        pytest.param(_decoder_left_out, COMPLETE, marks=pytest.mark.slow),
    ],
)
def test_mutants_of_a_detector_are_caught(
    model_folder: Any, mutate: Callable[[GroundedDetector], None], caught_by: str
) -> None:
    model: Any = load_model(str(model_folder("grounding-dino-dinov2")))
    mutate(model)
    # texts of different lengths, so that padding is there to be mistaken
    words = ("a photo of a {} with a dog near a street", "a {}")
    images = pictures(4)
    base, cf = (
        [{"image": images[2 * k + i], "text": text.format(who)} for i, text in enumerate(words)]
        for k, who in enumerate(("man", "person"))
    )
    base, cf = list(map(grounded, base)), list(map(grounded, cf))
    assert caught_by in failed(conformance(model, base, cf))


SITES = (
    "image_encoder",
    "image_encoder/attn.1",
    "image_encoder/head.2[1]",
    "image_encoder/neck.1",
    "text_encoder/mlp.0",
    "text_encoder/head.1[0]@-2",
    "fusion_encoder",
    "fusion_encoder/text_stream.0",
    "fusion_encoder/vision_stream.1",
    "fusion_encoder/text_to_image.1",
    "fusion_encoder/image_to_text_head.0[1]",
    "decoder/text_attn.1",
    "decoder",  # no cut: the class head reads the text stream of the fusion encoder as well
    "image_encoder+text_encoder",
    "image_encoder/mlp.0+fusion_encoder/text_attn.1",
    "text_encoder/attn.1+decoder/mlp.0",
)


def test_the_engine_equals_one_hook_per_forward(load: Any) -> None:
    base, cf = (list(map(grounded, side)) for side in sides(2))
    mediators = [Mediator.of(site.split("+")) for site in SITES]
    cuts = {"fusion_encoder", "image_encoder+text_encoder"}
    compared_arms(load("grounding-dino"), base, cf, mediators, cuts)


def test_worlds_whose_texts_differ_in_length_are_misaligned(load: Any) -> None:
    model = load("grounding-dino")
    image = pictures(1)[0]
    texts = {"null": "a man. ", "both": "a very big man. "}
    worlds = {
        name: {"image": image, "text": GroundedText(text, CLASSES)} for name, text in texts.items()
    }
    contrast, example = Contrast("null", "both"), Example("0", "0", worlds)
    mediators = [Mediator.of([site]) for site in ("text_encoder", "fusion_encoder/text_stream.0")]
    engine = Engine(model, [contrast], mediators, altered={contrast: frozenset({"text"})})
    for arm in engine.run([example]):
        assert bool(arm.misaligned.all()) == bool(arm.mediator)
        assert bool(arm.readout["class_logits"].isnan().all()) == bool(arm.mediator)


def test_pieces_are_merged_by_score() -> None:
    logits = torch.full((2, 3, 4), NEVER)
    logits[0, :, :2] = torch.tensor([[1.0, -1], [0, 2], [-3, -3]])
    logits[1, :, 2:] = torch.tensor([[0.5, -2], [4, -4], [-1, 1.5]])
    values = {"boxes": torch.arange(24.0).view(2, 3, 4), "logits": logits}
    readout = detection_readout(values, torch.tensor([[0, 1]]))
    assert readout["class_logits"].tolist() == [[1.0, 2.0, 4.0, 1.5]]
    assert readout["boxes"].shape == (1, 6, 4)
    assert readout["class_prob"].argmax(1).tolist() == [[0, 1, 4, 5]]


def test_scores_and_boxes_are_those_of_the_library() -> None:
    """Where the library names exactly one class, we find it at the same place with its score."""
    from transformers import GroundingDinoProcessor

    names = ("dog", "hot dog", "cup", "stop sign", "horse")
    reader = PhraseReader("tiny", bert_tokenizer(), 48, tuple(SEPARATORS))
    batch = reader.read(reader.pieces(GroundedText("", names)) * 2)
    length = batch["roles"].shape[1]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 400, length, generator=generator) * 2 - 4
    # delimiters are no answer for anybody: a trained detector gives them nothing
    logits[batch["roles"][:, None].expand_as(logits) < 0] = -20
    logits = torch.nn.functional.pad(logits, (0, 48 - length), value=-math.inf)
    boxes = torch.rand(2, 400, 4, generator=generator)
    processor = GroundingDinoProcessor(processor_of(), reader.tokenizer)
    raw = SimpleNamespace(logits=logits, pred_boxes=boxes, input_ids=batch["input_ids"])
    sizes = [(48, 64), (30, 40)]
    threshold = 0.3
    theirs = processor.post_process_grounded_object_detection(
        raw, threshold=threshold, text_threshold=threshold, target_sizes=sizes
    )
    ours = detection_readout(
        {
            "boxes": corners(boxes, torch.tensor([(w, h) for h, w in sizes])),
            "logits": class_logits(logits, batch["roles"], len(names)),
        },
        torch.tensor([[0], [1]]),
    )
    compared = 0
    for row, result in enumerate(theirs):
        prob = ours["class_prob"][row]
        queries = (prob.amax(1) > threshold).nonzero()[:, 0].tolist()
        assert len(queries) == len(result["scores"])
        for query, score, box, label in zip(
            queries, result["scores"], result["boxes"], result["text_labels"], strict=True
        ):
            torch.testing.assert_close(ours["boxes"][row, query], box)
            torch.testing.assert_close(prob[query].max(), score)
            # a lone "dog" may be the second word of "hot dog": the library cannot tell
            if label in names and label != "dog":
                assert names[int(prob[query].argmax())] == label
                compared += 1
    assert compared > 50


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (333, 2)])
def test_images_of_any_shape_give_boxes_inside_their_frame(
    load: Any, size: tuple[int, int]
) -> None:
    model = load("grounding-dino")
    image = Picture(Image.new("RGB", size, (200, 10, 90)))
    example = Example("0", "0", {"null": {"image": image, "text": GroundedText("", CLASSES)}})
    contrast = Contrast("null", "null")
    readout = next(iter(Engine(model, [contrast], [], altered={}).run([example]))).readout
    centre = readout["boxes"].view(-1, 2, 2).mean(1)
    assert bool((centre >= 0).all())
    assert bool((centre <= torch.tensor(size)).all())
    assert bool(readout["class_logits"].isfinite().all())
