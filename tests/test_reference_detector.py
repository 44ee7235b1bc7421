"""The builder of the reference detector, on drawn rectangles and random encoders.

Nothing here says how good the real detector is.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from reference_parts import EXPERIMENTS, draw_photos, photos, views
from tiny_detectors import bert_tokenizer
from transformers import BertConfig, BertModel, Dinov2Backbone, Dinov2Config, Dinov2Model

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.errors import BadData
from vlbias.models import load_model

pytestmark = pytest.mark.integration

NAMES = ("person", "dog", "cup")
SMALL = (
    "--rate-text 2e-5 --pixels 28 --epochs 2 --batch 4 --views 3 --width 32 --layers 2 --queries 5"
)


def tiny_encoders() -> tuple[Dinov2Model, BertModel]:
    torch.manual_seed(0)
    vision = Dinov2Config(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=7,
        image_size=28,
        mlp_ratio=2,
    )
    text = BertConfig(
        vocab_size=1030,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    return Dinov2Model(vision).eval(), BertModel(text).eval()


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
    evaluate = sys.modules["reference.detector_evaluate"]
    frame = script_frame(best, [str(photo.id) for photo in chosen])
    truth = evaluate.truth_frame(chosen, NAMES)
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


def test_kept_texts_are_what_the_encoder_gives(script: Any) -> None:
    detector = sys.modules["reference.detector"]
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


def test_a_frozen_text_encoder_stays(script: Any, folder: Path, tmp_path: Path) -> None:
    arguments = ["--photos", str(folder), "--out", str(tmp_path / "model"), "--device", "cpu"]
    assert script.main([*arguments, *SMALL.split(), "--rate-text", "0"]) == 0
    model: Any = load_model(str(tmp_path / "model"))
    learned = dict(model.net.model.text_backbone.named_parameters())
    for name, parameter in tiny_encoders()[1].named_parameters():
        if name in learned:
            assert torch.equal(learned[name], parameter), name


class TestLoss:
    def module(self) -> ModuleType:
        return sys.modules["reference.detector_loss"]

    def test_a_perfect_answer_costs_nearly_nothing(self, script: Any) -> None:
        loss = self.module()
        boxes = torch.tensor([[[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.3, 0.4], [0.5, 0.5, 0.1, 0.1]]])
        # tokens: [CLS], class 0, stop, class 1 (two words), padding
        roles = torch.tensor([[-2, 0, -2, 1, 1, -3]])
        logits = torch.full((1, 3, 6), -12.0)
        logits[0, 0, 3:5] = 12.0
        logits[0, 1, 1] = 12.0
        logits[..., 5] = -torch.inf
        truth = loss.Truth(boxes[0, [1, 0]], torch.tensor([0, 1]))
        parts = loss.set_loss(logits, boxes, [truth], roles)
        assert all(float(value) < 1e-3 for value in parts.values())
        swapped = loss.Truth(boxes[0, [0, 1]], torch.tensor([0, 1]))
        assert sum(map(float, loss.set_loss(logits, boxes, [swapped], roles).values())) > 0.5

    def test_each_row_is_read_by_its_own_text(self, script: Any) -> None:
        """The library's loss takes the tokens of a third row from the second one's text."""
        loss = self.module()
        box = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
        roles = torch.tensor([[0, -1, -1], [-1, 0, -1], [-1, -1, 0]])
        logits = torch.full((3, 1, 3), -12.0)
        for row in range(3):
            logits[row, 0, row] = 12.0
        truths = [loss.Truth(box, torch.tensor([0]))] * 3
        parts = loss.set_loss(logits, box.expand(3, 1, 4), truths, roles)
        assert float(parts["class"]) < 1e-3

    def test_photos_without_boxes_teach_that_nothing_is_there(self, script: Any) -> None:
        loss = self.module()
        none = loss.Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
        logits = torch.zeros(1, 2, 3, requires_grad=True)
        parts = loss.set_loss(logits, torch.rand(1, 2, 4), [none], torch.tensor([[0, 1, -1]]))
        parts["class"].backward()
        assert logits.grad is not None
        assert bool((logits.grad > 0).all())

    def test_places_learn_the_boxes_they_lie_in(self, script: Any) -> None:
        loss = self.module()
        match = loss.match_places([(4, 4), (2, 2)])
        # a box over the left half, and a small one within it that no place lies in
        truth = loss.Truth(
            torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.3, 0.3, 0.05, 0.05]]), torch.tensor([0, 1])
        )
        places, box = match(torch.zeros(20, 3), torch.rand(20, 4), truth, torch.zeros(2, 3))
        found = dict(zip(places.tolist(), box.tolist(), strict=True))
        # of the fine level the small box has the nearest place, second row and column
        assert {place for place, one in found.items() if one == 1} == {5, 16}
        left = {row * 4 + column for row in range(4) for column in range(2)} - {5}
        assert {place for place, one in found.items() if one == 0} <= left | {18}
        assert {4, 8, 9, 18} <= set(found)

    def test_presence_is_told_by_the_best_query(self, script: Any) -> None:
        loss, roles = self.module(), torch.tensor([[-1, 0, 1, -3]])
        logits = torch.tensor([[[9.0, -9.0, 8.0, 0.0], [9.0, -7.0, -8.0, 0.0]]])
        right = loss.presence_loss(logits, torch.tensor([[0.0, 1.0]]), roles)
        wrong = loss.presence_loss(logits, torch.tensor([[1.0, 0.0]]), roles)
        assert float(right) < 0.01
        assert float(wrong) == pytest.approx(7.5, abs=0.01)


def test_boxes_follow_their_view(script: Any) -> None:
    bank = sys.modules["reference.detector_bank"]
    photo = photos.Photo(
        id=2,
        path=Path("none.jpg"),
        captions=("a man",),
        boxes=np.array([[10, 10, 30, 30], [60, 0, 100, 40]], np.float32),
        classes=np.array([0, 1]),
        gender="masculine",
    )
    whole = bank.truth_in(photo, views.View(0, 0, 100, 50, False))
    assert whole.boxes.tolist()[0] == pytest.approx([0.2, 0.4, 0.2, 0.4])
    mirrored = bank.truth_in(photo, views.View(0, 0, 100, 50, True))
    assert mirrored.boxes.tolist()[0] == pytest.approx([0.8, 0.4, 0.2, 0.4])
    # of the second box a quarter is left: it no longer counts
    cut = bank.truth_in(photo, views.View(0, 0, 70, 50, False))
    assert cut.classes.tolist() == [0]
    half = bank.truth_in(photo, views.View(20, 0, 100, 50, False))
    assert half.boxes.tolist()[0] == pytest.approx([5 / 80, 0.4, 10 / 80, 0.4])


def test_the_stand_in_gives_what_the_backbone_gave(script: Any) -> None:
    detector = sys.modules["reference.detector"]
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


def test_training_starts_from_rare_classes(script: Any) -> None:
    start = sys.modules["reference.detector_start"]
    detector = sys.modules["reference.detector"]
    vision, text = tiny_encoders()
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[1, 2])
    start.start_quietly(net)
    reader = detector.reader_of(net, bert_tokenizer())
    tokens = reader.read(reader.pieces(detector.prompt_of("a man with a dog .", NAMES)))
    read = {key: tokens[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        found = net(pixel_values=torch.randn(1, 3, 28, 28), **read)
    for logits in (found.logits, found.enc_outputs_class):
        there = logits[logits.isfinite()]
        assert there.numel() > 0
        assert float((there + 4).abs().max()) < 3


def test_every_layer_begins_by_handing_on_what_it_is_given(script: Any) -> None:
    start, detector = (sys.modules[f"reference.detector{end}"] for end in ("_start", ""))
    vision, text = tiny_encoders()
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[2])
    start.start_quietly(net)
    start.start_passing(net)
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


def test_aligned_projections_find_the_class_of_a_patch(script: Any) -> None:
    start, detector, loss = (
        sys.modules[f"reference.detector{end}"] for end in ("_start", "", "_loss")
    )
    vision, text = tiny_encoders()
    torch.manual_seed(1)
    net = detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[2])
    start.start_quietly(net)
    start.start_passing(net)
    spread, centres = torch.randn(12, 12), 3 * torch.randn(len(NAMES), 12)

    def view(seed: int) -> tuple[torch.Tensor, Any]:
        source = torch.Generator().manual_seed(seed)
        features = torch.randn(16, 12, generator=source) @ spread + 5
        kinds = torch.randint(len(NAMES), (2,), generator=source)
        features[[0, 15]] += (centres @ spread)[kinds]
        boxes = torch.tensor([[0.125, 0.125, 0.25, 0.25], [0.875, 0.875, 0.25, 0.25]])
        return features.T.reshape(12, 4, 4), loss.Truth(boxes, kinds)

    patches = start.patches_of([view(seed) for seed in range(200)], len(NAMES))
    assert patches.boxes.sum() == 400
    states = torch.randn(4, 8)
    owner = torch.tensor([0, 1, 1, 2])
    start.align(net, patches, states, owner)
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


def test_a_box_of_a_rare_class_counts_more(script: Any) -> None:
    loss, training = sys.modules["reference.detector_loss"], sys.modules["reference.detector_train"]
    boxes = np.array([[0.0, 0.0, 9.0, 9.0]] * 9, np.float32)
    photo = photos.Photo(
        1, Path("x.jpg"), ("a man",), boxes, np.array([0] * 7 + [1] + [2]), "masculine"
    )
    worth = training.worth_of([photo], 3)
    assert worth.tolist() == pytest.approx([7**-0.5, 1.0, 1.0])
    truth = loss.Truth(
        torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2]]), torch.tensor([0, 1])
    )
    roles = torch.tensor([[0, 1, 2]])
    right = truth.boxes[None].clone()
    logits = torch.tensor([[[9.0, -9.0, -9.0], [-9.0, 9.0, -9.0]]])
    far = right.clone()
    far[0, :, 2:] = 0.3
    off = [far.clone(), far.clone()]
    off[0][0, 1], off[1][0, 0] = right[0, 1], right[0, 0]
    person, rare = (
        float(loss.set_loss(logits, one, [truth], roles, worth=worth)["box"]) for one in off
    )
    assert rare == pytest.approx(person * 7**0.5)


def test_categories_that_need_two_texts_are_refused(script: Any) -> None:
    detector = sys.modules["reference.detector"]
    vision, text = tiny_encoders()
    reader = detector.reader_of(
        detector.assemble(vision, text, width=32, layers=2, queries=5, taps=[1]), bert_tokenizer()
    )
    with pytest.raises(BadData, match="90 categories do not fit into one text of 64 tokens"):
        detector.tokens_of(reader, [detector.prompt_of("a man.", NAMES * 30)])
