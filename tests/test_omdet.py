from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from naive import naive_arms
from PIL import Image
from test_conformance import COMPLETE, PORTS, REPLAY, ROOTS, ROWS, failed
from test_owl import run
from tiny_detectors import OMDET_LIMIT, grounded, loud_detector, omdet_timm
from tiny_photos import CLASSES, pictures, sides
from tiny_tokenizers import clip_tokenizer
from torch import Tensor

from vlbias.api import check
from vlbias.causal.conformance import conformance
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, GroundedText, Inputs, Picture
from vlbias.causal.site import Mediator
from vlbias.errors import BadModel, BadStudy, MissingExtra
from vlbias.models import load_model, outline_model
from vlbias.models.omdet import OmDet, adapter
from vlbias.models.omdet.text import Piece, Reader, apart

pytestmark = pytest.mark.integration


def test_it_keeps_the_contract_with_a_plain_text(load: Any) -> None:
    assert failed(check(load("omdet-turbo"))) == {}


def test_it_keeps_the_contract_with_captions_and_categories(load: Any) -> None:
    base, cf = (list(map(grounded, side)) for side in sides(2))
    assert failed(conformance(load("omdet-turbo"), base, cf)) == {}


def test_it_keeps_the_contract_with_a_text_for_each_class(load: Any) -> None:
    base, cf = (
        [{**inputs, "text": (inputs["text"], "a big horse")} for inputs in side]
        for side in sides(2)
    )
    assert failed(conformance(load("omdet-turbo"), base, cf)) == {}


def test_a_backbone_of_timm_has_the_same_ports(load: Any) -> None:
    pytest.importorskip("timm")
    net, images, tokenizer = omdet_timm()
    model = OmDet(loud_detector(net), images, tokenizer, name="timm", revision="0")
    base, cf = (list(map(grounded, side)) for side in sides(2))
    assert failed(conformance(model, base, cf)) == {}

    def inside(one: Any) -> list[str]:
        return [port.name for port in one.ports if port.stage == "image_encoder"]

    assert inside(model) == inside(load("omdet-turbo"))


def _task_mask_ignored(model: OmDet) -> None:
    read = model._read

    def unmasked(batch: dict[str, Tensor]) -> Any:
        classes, task, told = read(batch)
        return classes, task, torch.ones_like(told)

    model._read = unmasked  # type: ignore[method-assign]


def _decoder_where_rows_lie_second(model: OmDet) -> None:
    tower = model.towers[0]
    decoder = replace(tower.stages[3], module="decoder")
    model.towers = (replace(tower, stages=(*tower.stages[:3], decoder)),)


def _text_bypasses(model: OmDet) -> None:
    encode = model.encode

    def past_the_stages(tower: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        found = encode(tower, batch)
        return {**found, "logits": found["logits"] + batch["input_ids"].sum(1)[:, None, None]}

    model.encode = past_the_stages  # type: ignore[method-assign]


def _decoder_forgets_text(model: OmDet) -> None:
    tower = model.towers[0]
    decoder = replace(tower.stages[3], parents=("hybrid_encoder",))
    model.towers = (replace(tower, stages=(*tower.stages[:3], decoder)),)


def _text_stage_round_one_branch(model: OmDet) -> None:
    tower = model.towers[0]
    branch = "language_backbone.model.encoder.layers.1.mlp"
    text = replace(tower.stages[2], module=branch, blocks=())
    model.towers = (replace(tower, stages=(tower.stages[0], text)),)


def _texts_from_the_cache(model: OmDet) -> None:
    """Texts as the model's own forward pass reads them."""

    def cached(batch: dict[str, Tensor]) -> Any:
        ids, known = batch["input_ids"], (batch["text"] >= 0).long()
        count = torch.ones(len(ids), dtype=torch.long)
        classes, task, told = model.net.get_language_embedding(ids, known, ids, known, count)  # type: ignore[operator]
        classes = classes.expand(batch["owner"].shape[1], -1, -1)
        return classes.transpose(0, 1), task.transpose(0, 1), told > 0

    model._read = cached  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        (_task_mask_ignored, ROWS),
        (_decoder_where_rows_lie_second, REPLAY),
        (_text_bypasses, COMPLETE),
        (_decoder_forgets_text, ROOTS),
        (_text_stage_round_one_branch, COMPLETE),
        (_texts_from_the_cache, PORTS),
    ],
)
def test_mutants_are_caught(
    model_folder: Any, mutate: Callable[[OmDet], None], caught_by: str
) -> None:
    model: Any = load_model(str(model_folder("omdet-turbo")))
    mutate(model)
    # texts of different lengths, so that padding is there to be mistaken
    words = ("a photo of a {} with a dog near a street", "a {}")
    images = pictures(4)
    base, cf = (
        [{"image": images[2 * k + i], "text": text.format(who)} for i, text in enumerate(words)]
        for k, who in enumerate(("man", "person"))
    )
    found = failed(conformance(model, list(map(grounded, base)), list(map(grounded, cf))))
    assert caught_by in found


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
    model = load("omdet-turbo")
    base, cf = (list(map(grounded, side)) for side in sides(2))
    contrast, mediators = Contrast("null", "both"), [Mediator.of(s.split("+")) for s in SITES]
    altered = {contrast: frozenset({"image", "text"})}
    engine = Engine(model, [contrast], mediators, altered=altered)
    examples = [
        Example(str(i), str(i), {"null": a, "both": b})
        for i, (a, b) in enumerate(zip(base, cf, strict=True))
    ]
    arms = {(arm.mediator, arm.arm): arm for arm in engine.run(examples)}
    cuts = {"decoder", "image_encoder+text_encoder", "hybrid_encoder+text_encoder"}
    assert engine.cuts() == cuts
    moved = set()
    for mediator in mediators:
        for i, example in enumerate(examples):
            worlds = example.worlds["null"], example.worlds["both"]
            for arm, expected in naive_arms(model, *worlds, mediator).items():
                found = arms["" if arm in ("00", "11") else mediator.name, arm].readout
                for key, value in expected.items():
                    torch.testing.assert_close(found[key][i], value[0], atol=1e-4, rtol=1e-4)
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


class TestTexts:
    def reader(self, limit: int = OMDET_LIMIT) -> Reader:
        return Reader("tiny", clip_tokenizer(("detect", "hot", "stop", "sign")), limit)

    def test_every_class_is_a_text_of_its_own_behind_the_task(self) -> None:
        reader = self.reader()
        pieces = reader.pieces(GroundedText("a man with a hot dog. ", ("dog", "hot dog")))
        assert pieces == (
            Piece("a man with a hot dog. Detect dog, hot dog.", ("dog", "hot dog"), 0, 2),
        )
        batch, tokenizer = reader.read(pieces), reader.tokenizer
        texts = ["a man with a hot dog. detect dog, hot dog.", "dog", "hot dog"]
        for number, text in enumerate(texts):
            own = batch["text"][0] == number
            assert batch["input_ids"][0, own].tolist() == tokenizer(text)["input_ids"]
            assert batch["place"][0, own].tolist() == list(range(int(own.sum())))
        assert bool((batch["input_ids"][0, batch["end"][0]] == tokenizer.eos_token_id).all())
        assert batch["text"][0, batch["end"][0]].tolist() == [1, 2]

    def test_rows_of_fewer_classes_repeat_their_first(self) -> None:
        reader = self.reader()
        batch = reader.read(
            [Piece("Detect cup, dog.", ("cup", "dog"), 0, 3), Piece("Detect a.", ("a",), 2, 3)]
        )
        assert batch["owner"].tolist() == [[0, 1], [2, 2]]
        assert batch["end"][1].unique().numel() == 1

    def test_no_token_sees_another_text(self) -> None:
        mask = apart(torch.tensor([[0, 0, 1, 1, -1]]), torch.float32)[0, 0]
        assert [[int(seen == 0) for seen in row] for row in mask] == [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 0, 1, 1, 0],
            [0, 0, 0, 0, 1],
        ]

    def test_a_cut_depends_on_no_caption_and_no_list_on_the_texts_of_a_tuple(self) -> None:
        reader, names = self.reader(), ("dog", "cup", "horse", "umbrella") * 3
        cuts = [
            [piece.names for piece in reader.pieces(GroundedText(before, names))]
            for before in ("", "a very big man. ")
        ]
        assert cuts[0] == cuts[1]
        assert len(cuts[0]) == 2
        alone = reader.pieces(("a man with a dog", "a cup"))
        assert [(p.task, p.names, p.first) for p in alone] == [
            ("Detect a man with a dog.", ("a man with a dog",), 0),
            ("Detect a cup.", ("a cup",), 1),
        ]

    def test_texts_beyond_the_limit_are_refused(self) -> None:
        reader = self.reader()
        caption = GroundedText("a very " * 24 + "big man. ", CLASSES)
        with pytest.raises(BadModel, match="reads 48"):
            reader.read(reader.pieces(caption))
        with pytest.raises(BadModel, match="class name"):
            reader.pieces(GroundedText("", ("cup", "a very " * 12 + "big dog")))
        with pytest.raises(BadModel, match="48"):
            reader.read([Piece("Detect it.", ("a very " * 24 + "big dog",), 0, 1)])

    @pytest.mark.parametrize("text", [GroundedText("", ("cup", " ")), ("cup", "")])
    def test_empty_class_names_are_refused(self, text: Any) -> None:
        with pytest.raises(BadStudy, match="objects"):
            self.reader().pieces(text)

    def test_class_names_the_tokenizer_does_not_know_are_refused(self) -> None:
        reader = self.reader()
        with pytest.raises(BadModel, match="hot quiz"):
            reader.read(reader.pieces(GroundedText("", ("hot quiz", "hot dog"))))

    def test_texts_that_ask_for_different_classes_are_refused(self) -> None:
        reader = self.reader()
        texts = GroundedText("", ("dog",)), GroundedText("", ("dog", "cup"))
        with pytest.raises(BadModel, match="classes"):
            reader.read([reader.pieces(text)[0] for text in texts])

    def test_a_tokenizer_of_another_model_is_refused(self) -> None:
        tokenizer = clip_tokenizer()
        tokenizer.add_tokens(["<extra>"])
        with pytest.raises(BadModel, match="highest"):
            Reader("tiny", tokenizer, 48)


def test_an_outline_has_its_ports_and_no_texts(load: Any, model_folder: Any) -> None:
    outline: Any = outline_model(str(model_folder("omdet-turbo")))
    assert outline.ports == load("omdet-turbo").ports
    with pytest.raises(BadModel, match="outline"):
        outline.split({"image": pictures(1)[0], "text": "a dog"})


def test_images_of_several_sizes_are_refused(load: Any) -> None:
    from tiny_detectors import processor

    model = load("omdet-turbo")
    with pytest.raises(BadModel, match="several sizes"):
        OmDet(model.net, processor(), model.reader.tokenizer, name="x", revision="0")


def test_a_missing_timm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> Any:
        raise ImportError("TimmBackbone requires the timm library")

    monkeypatch.setattr(adapter, "pretrained", absent)
    with pytest.raises(ImportError, match="TimmBackbone"):
        adapter.load("a/b", name="b")
    monkeypatch.setattr(adapter, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="timm"):
        adapter.load("a/b", name="b")
