"""OmDet-Turbo keeps the contract, mutants of it are caught, and what it lacks is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from contract import COMPLETE, PORTS, REPLAY, ROOTS, ROWS, failed, text_bypasses_stages
from tiny_detectors import grounded, loud_detector, omdet_timm, processor
from tiny_photos import pictures, sides
from torch import Tensor

from vlbias.causal.conformance import conformance
from vlbias.errors import BadModel, MissingExtra
from vlbias.models import load_model, outline_model
from vlbias.models.check_adapter import check
from vlbias.models.omdet import OmDet, adapter

pytestmark = pytest.mark.integration


@pytest.mark.slow
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


@pytest.mark.slow
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
        pytest.param(text_bypasses_stages, COMPLETE, marks=pytest.mark.slow),
        pytest.param(_decoder_forgets_text, ROOTS, marks=pytest.mark.slow),
        pytest.param(_text_stage_round_one_branch, COMPLETE, marks=pytest.mark.slow),
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


def test_an_outline_has_its_ports_and_no_texts(load: Any, model_folder: Any) -> None:
    outline: Any = outline_model(str(model_folder("omdet-turbo")))
    assert outline.ports == load("omdet-turbo").ports
    with pytest.raises(BadModel, match="outline"):
        outline.split({"image": pictures(1)[0], "text": "a dog"})


def test_images_of_several_sizes_are_refused(load: Any) -> None:
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
