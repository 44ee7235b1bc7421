"""The reference detector's network: what is kept of its encoders, and how it starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reference_detector_parts import NAMES, detector, detector_loss, detector_start, tiny_encoders
from tiny_detectors import bert_tokenizer
from transformers import Dinov2Backbone

from vlbias.errors import BadData

pytestmark = pytest.mark.integration


def test_kept_texts_are_what_the_encoder_gives() -> None:
    vision, text = tiny_encoders()
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[2])
    reader = detector.reader_of(net, bert_tokenizer())
    prompts = [detector.prompt_of(caption, NAMES) for caption in ("", "A dog and a cup.", "A dog.")]
    tokens = reader.read([reader.pieces(prompt)[0] for prompt in prompts])
    given = {key: tokens[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        with detector.with_kept(net, text=True):
            assert not any(".text_backbone." in name for name, _ in net.named_parameters())
            words = net.model.text_backbone
            states = [words(*_masks(net, given)).last_hidden_state for _ in range(2)]
        direct = net.model.text_backbone(*_masks(net, given)).last_hidden_state
    assert torch.equal(states[0], states[1])
    real = given["input_ids"] != 0
    assert torch.allclose(states[0][real], direct[real], atol=2e-3)
    assert isinstance(net.model.backbone.conv_encoder.model, Dinov2Backbone)
    assert any(".text_backbone." in name for name, _ in net.named_parameters())


def _masks(net: Any, given: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    from transformers.models.grounding_dino.modeling_grounding_dino import (
        generate_masks_with_special_tokens_and_transfer_map as masks,
    )

    mask, position = masks(given["input_ids"], net.model.special_tokens)
    return given["input_ids"], mask[:, None], given["token_type_ids"], position


def test_the_stand_in_gives_what_the_backbone_gave() -> None:
    vision, text = tiny_encoders()
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[1, 2])
    reader = detector.reader_of(net, bert_tokenizer())
    tokens = reader.read(reader.pieces(detector.prompt_of("a man with a dog .", NAMES)))
    pixels = torch.randn(1, 3, 28, 28)
    read = {key: tokens[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        whole = net(pixel_values=pixels, **read)
        maps = torch.stack(net.model.backbone.conv_encoder.model(pixels).feature_maps, 1)
        with detector.with_kept(net, text=False) as kept:
            again = detector.forward(net, kept, maps, tokens, 28)
            coarse = detector.forward(net, kept, maps, tokens, 28, "bfloat16")
        assert torch.equal(net(pixel_values=pixels, **read).logits, whole.logits)
    assert torch.equal(whole.logits, again.logits)
    assert torch.equal(whole.pred_boxes, again.pred_boxes)
    assert coarse.logits.dtype == coarse.intermediate_hidden_states.dtype == torch.float32
    states = again.encoder_last_hidden_state_vision
    gap = (coarse.encoder_last_hidden_state_vision - states).norm() / states.norm()
    assert 0 < gap < 0.02


def test_training_starts_from_rare_classes() -> None:
    vision, text = tiny_encoders()
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[1, 2])
    detector_start.start_quietly(net)
    reader = detector.reader_of(net, bert_tokenizer())
    tokens = reader.read(reader.pieces(detector.prompt_of("a man with a dog .", NAMES)))
    read = {key: tokens[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        found = net(pixel_values=torch.randn(1, 3, 28, 28), **read)
    for logits in (found.logits, found.enc_outputs_class):
        there = logits[logits.isfinite()]
        assert there.numel() > 0
        assert float((there + 4).abs().max()) < 3


def test_every_layer_begins_by_handing_on_what_it_is_given() -> None:
    vision, text = tiny_encoders()
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[2])
    detector_start.start_quietly(net)
    detector_start.start_passing(net)
    reader = detector.reader_of(net, bert_tokenizer())
    tokens = reader.read(reader.pieces(detector.prompt_of("a man with a dog .", NAMES)))
    read = {key: tokens[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    projected: list[torch.Tensor] = []
    for level in net.model.input_proj_vision:
        level.register_forward_hook(lambda _, __, out: projected.append(out.flatten(2).mT))
    with torch.inference_mode():
        found = net(pixel_values=torch.randn(1, 3, 28, 28), **read, output_hidden_states=True)
    given = torch.nn.functional.layer_norm(torch.cat(projected, 1), (32,))
    # the fusion of text and image begins with 1e-4 of what it adds
    assert torch.allclose(found.encoder_last_hidden_state_vision, given, atol=5e-3)
    assert torch.allclose(found.pred_boxes, found.init_reference_points, atol=1e-6)
    # boxes are refined from a layer's states and learnt behind the last norm: the same states
    plain, normed = found.decoder_hidden_states[1:], found.intermediate_hidden_states[0]
    for layer, state in zip(plain, normed, strict=True):
        assert float((layer - state).abs().mean()) < 0.1 * float(state.abs().mean())


def test_aligned_projections_find_the_class_of_a_patch() -> None:
    vision, text = tiny_encoders()
    torch.manual_seed(1)
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[2])
    detector_start.start_quietly(net)
    detector_start.start_passing(net)
    spread, centres = torch.randn(12, 12), 3 * torch.randn(len(NAMES), 12)

    def view(seed: int) -> tuple[torch.Tensor, Any]:
        source = torch.Generator().manual_seed(seed)
        features = torch.randn(16, 12, generator=source) @ spread + 5
        kinds = torch.randint(len(NAMES), (2,), generator=source)
        features[[0, 15]] += (centres @ spread)[kinds]
        boxes = torch.tensor([[0.125, 0.125, 0.25, 0.25], [0.875, 0.875, 0.25, 0.25]])
        return features.T.reshape(12, 4, 4), detector_loss.Truth(boxes, kinds)

    patches = detector_start.patches_of([view(seed) for seed in range(200)], len(NAMES))
    assert patches.boxes.sum() == 400
    states = torch.randn(4, 8)
    owner = torch.tensor([0, 1, 1, 2])
    detector_start.align(net, patches, states, owner)
    project = net.model.input_proj_vision[0]
    right = []
    for seed in range(1000, 1060):
        features, truth = view(seed)
        with torch.inference_mode():
            seen = torch.nn.functional.layer_norm(project(features[None]).flatten(2).mT, (32,))
            named = torch.nn.functional.layer_norm(net.model.text_projection(states), (32,))
        scores = (seen @ named.mT)[0, [0, 15]]
        right.append(owner[scores.argmax(1)] == truth.classes)
    # one in three by chance
    assert torch.cat(right).float().mean() > 0.9


def test_categories_that_need_two_texts_are_refused() -> None:
    vision, text = tiny_encoders()
    reader = detector.reader_of(
        detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[1]), bert_tokenizer()
    )
    with pytest.raises(BadData, match="90 categories do not fit into one text of 64 tokens"):
        detector.tokens_of(reader, [detector.prompt_of("a man.", NAMES * 30)])
