"""GLIP keeps the contract with and without deep fusion, and mutants of it are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from contract import COMPLETE, PORTS, ROOTS, ROWS, failed, text_bypasses_stages
from engine_and_naive import compared_arms
from tiny_detectors import grounded
from tiny_photos import CLASSES, pictures, sides

from vlbias.causal.conformance import conformance
from vlbias.causal.example import GroundedText
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.site import Mediator
from vlbias.errors import BadData, BadModel
from vlbias.models import load_model, outline_model
from vlbias.models.check_adapter import check
from vlbias.models.glip.adapter import Glip

pytestmark = pytest.mark.integration


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glip", "glip-apart"])
def test_it_keeps_the_contract_with_captions_and_categories(load: Any, name: str) -> None:
    base, cf = (list(map(grounded, side)) for side in sides(2))
    assert failed(conformance(load(name), base, cf)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glip", "glip-apart"])
def test_it_keeps_the_contract_with_a_plain_text(load: Any, name: str) -> None:
    assert failed(check(load(name))) == {}


def _fusion_forgets_text(model: Glip) -> None:
    tower = model.towers[0]
    fusion = replace(tower.stages[2], parents=("image_encoder",))
    model.towers = (replace(tower, stages=(*tower.stages[:2], fusion, tower.stages[3])),)


def _mask_ignored(model: Glip) -> None:
    """What pads a short text is taken for words."""
    collate = model.collate

    def unmasked(tower: str, rows: Any) -> Any:
        batch = collate(tower, rows)
        return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}

    model.collate = unmasked  # type: ignore[method-assign]


def _stream_of_both(model: Glip) -> None:
    """The stream of the image as a layer gives it, with the text beside it."""
    model.ports = tuple(
        replace(port, module=port.module.removesuffix(".stream")) for port in model.ports
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        (_mask_ignored, ROWS),
        (_fusion_forgets_text, ROOTS),
        (_stream_of_both, PORTS),
        (text_bypasses_stages, COMPLETE),
    ],
)
def test_mutants_are_caught(
    model_folder: Any, mutate: Callable[[Glip], None], caught_by: str
) -> None:
    model: Any = load_model(str(model_folder("glip")))
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


@pytest.mark.parametrize("masked", [True, False])
def test_a_short_text_beside_a_long_one_is_as_by_itself(load: Any, masked: bool) -> None:
    """Photos of one size, so that the rows share a batch; without the mask the padding is heard."""
    model = load("glip")
    texts = ("a photo of a man with a dog near a street. ", "")
    rows = [
        model.split({"image": image, "text": GroundedText(text, CLASSES)})["model"][0]
        for image, text in zip(pictures(2), texts, strict=True)
    ]
    batch = model.collate("model", rows)
    assert int(batch["length"][1]) < batch["input_ids"].shape[1]
    if not masked:
        batch = {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}
    with torch.no_grad():
        together = model.encode("model", batch)["logits"][1].amax(0)
        alone = model.encode("model", model.collate("model", rows[1:]))["logits"][0].amax(0)
    gap = float((together - alone).abs().max())
    assert gap < 1e-5 if masked else gap > 1e-2


SITES = (
    "image_encoder/head.1[0]",
    "text_encoder/head.0[0]@-2",
    "fusion_encoder",
    "fusion_encoder/vision_stream.1",
    "fusion_encoder/text_to_image_head.1[2]",
    "head/words",
    "image_encoder+text_encoder",
    "image_encoder/mlp.0+fusion_encoder/text_attn.1",
)


def test_the_engine_equals_one_hook_per_forward(load: Any) -> None:
    base, cf = (list(map(grounded, side)) for side in sides(2))
    mediators = [Mediator.of(site.split("+")) for site in SITES]
    cuts = {"fusion_encoder", "image_encoder+text_encoder"}
    compared_arms(load("glip"), base, cf, mediators, cuts)


def test_texts_are_as_published_and_classes_are_the_means_of_their_tokens(load: Any) -> None:
    model = load("glip")
    names = ("person", "stop sign", "umbrella")
    row = model.split({"image": pictures(1)[0], "text": GroundedText("a man. ", names)})["model"][0]
    # "a man. " before the list, ". " between classes, no full stop at the end
    assert row[1].text == "a man. person. stop sign. umbrella"
    batch = model.collate("model", [row])
    assert batch["roles"].tolist() == [[-2, -1, -1, -2, 0, -2, 1, 1, -2, 2, -2]]


def test_photos_of_several_sizes_are_not_padded_for_each_other(load: Any) -> None:
    model = load("glip")
    text = GroundedText("", CLASSES)
    high, wide = pictures(1, size=(30, 40))[0], pictures(1, size=(80, 30))[0]
    rows = [model.split({"image": image, "text": text})["model"][0] for image in (high, wide)]
    with pytest.raises(BadData, match="photos of the sizes"):
        model.collate("model", rows)
    assert len(list(PhotoSizes(model).batches("model", rows, 8))) == 2
    # the same number of boxes whatever the size
    with torch.no_grad():
        one, other = (model.encode("model", model.collate("model", [row])) for row in rows)
    assert one["boxes"].shape == other["boxes"].shape == (1, 23, 4)
    assert float(other["boxes"][..., 2].max()) <= 80


def test_an_outline_has_the_same_stages_and_ports(model_folder: Any, load: Any) -> None:
    outline = outline_model(str(model_folder("glip")))
    assert outline.ports == load("glip").ports
    assert outline.towers == load("glip").towers
    with pytest.raises(BadModel, match="is an outline"):
        outline.split({"image": pictures(1)[0], "text": "a dog"})
    large = outline_model("glip-large")
    heads = next(port for port in large.ports if port.name == "text_to_image_head")
    assert (heads.layers, heads.units) == (8, 8)
    assert [stage.name for stage in outline_model("glip-tiny-a").towers[0].stages] == [
        "image_encoder",
        "text_encoder",
        "dynamic_head",
        "head",
    ]
