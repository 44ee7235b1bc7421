"""Fusion encoders with a match head: the contract, the library's own scores, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from contract import PORTS, REPEATS, ROOTS, ROWS, failed
from engine_runs import BOTH, run, score
from tiny_fusion import FUSION, fusion
from tiny_photos import pictures, sides
from torch import Tensor

from vlbias.causal.conformance import conformance
from vlbias.causal.staged_model import resolve
from vlbias.causal.tape import record
from vlbias.errors import BadModel, BadStudy
from vlbias.models.fusion.adapter import FusionEncoder
from vlbias.models.fusion.passes import SCORES, ordered_patches

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made() -> Callable[[str], FusionEncoder]:
    """The model of a family, one for all tests: none may change it."""
    known: dict[str, FusionEncoder] = {}
    return lambda kind: known.setdefault(kind, known.get(kind) or fusion(kind))


@pytest.mark.parametrize("kind", FUSION)
def test_fusion_encoders_keep_the_contract(made: Callable[[str], FusionEncoder], kind: str) -> None:
    assert failed(conformance(made(kind), *sides(2))) == {}


def _library_score(model: FusionEncoder, image: Any, text: str) -> float:
    """As the documentation of the library asks for it, one photo with one text and no padding."""
    net: Any = model.net
    given: dict[str, Any] = dict(model._processor(images=image, return_tensors="pt"))
    given |= dict(model._tokenizer(text, return_tensors="pt", return_token_type_ids=False))
    kind = type(net).__name__
    with torch.no_grad():
        if kind == "FlavaForPreTraining":
            patches = torch.zeros((1, 4), dtype=torch.bool)
            words = given["input_ids"]
            found = net(**given, bool_masked_pos=patches, input_ids_masked=words, return_loss=False)
            logits = found.itm_logits
        elif kind == "Blip2ForImageTextRetrieval":
            found = net(**given, use_image_text_matching_head=True)
            logits = found.logits_per_image
        else:
            found = net(**given)
            logits = found.itm_score if kind.startswith("Blip") else found.logits
    row = logits[0].double()
    return float(row[0] if len(row) == 1 else row.log_softmax(0)[1] - row.log_softmax(0)[0])


@pytest.mark.parametrize("kind", FUSION)
def test_scores_are_those_of_the_library(made: Callable[[str], FusionEncoder], kind: str) -> None:
    model = made(kind)
    texts = ("a photo of a dog", "a man riding a big horse on the street")
    images = pictures(1, 3, (40, 30)) + pictures(1, 4, (30, 50))
    for image in images:
        rows = model.split({"image": image, "text": texts})["model"]
        with torch.no_grad():
            table = model.encode("model", model.collate("model", rows))
        found = model.join({"model": table}, {"model": torch.tensor([[0, 1]])})["class_logits"][0]
        expected = [_library_score(model, image.open(), text) for text in texts]
        assert found.tolist() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    "kind",
    ["blip2", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("blip", "flava"))],
)
def test_contrastive_heads_keep_the_contract_and_compare_as_the_library_does(
    made: Callable[[str], FusionEncoder], kind: str
) -> None:
    model = made(kind).similarity()
    assert failed(conformance(model, *sides(2))) == {}
    net: Any = model.net
    image, text = pictures(1)[0], "a photo of a dog"
    values = {
        "image_encoder": model.encode("image_encoder", model.collate("image_encoder", [image])),
        "text_encoder": model.encode("text_encoder", model.collate("text_encoder", [text])),
    }
    index = {name: torch.zeros((1, 1), dtype=torch.long) for name in values}
    found = float(model.join(values, index)["score"][0])
    given = dict(made(kind)._processor(images=image.open(), return_tensors="pt"))
    given |= dict(made(kind)._tokenizer(text, return_tensors="pt", return_token_type_ids=False))
    with torch.no_grad():
        if kind == "blip":
            expected = net(**given, use_itm_head=False).itm_score
        elif kind == "blip2":
            expected = net(**given).logits_per_image
        else:
            given["input_ids_masked"] = given["input_ids"]
            expected = net(**given, return_loss=False).contrastive_logits_per_image
    assert found == pytest.approx(float(expected[0, 0]), abs=1e-5)


def test_a_model_without_a_contrastive_head_is_named(
    made: Callable[[str], FusionEncoder],
) -> None:
    with pytest.raises(BadModel, match=r"ViltForImageAndTextRetrieval has no contrastive head"):
        made("vilt").similarity()


def test_vilt_s_patches_keep_their_order_and_its_network_is_left_alone(
    made: Callable[[str], FusionEncoder],
) -> None:
    model = made("vilt")
    net: Any = model.net
    batch = model.collate("model", [(pictures(1)[0], "a photo of a dog")])
    given = (batch["pixel_values"], batch["pixel_mask"])
    embeddings = net.vilt.embeddings
    with torch.no_grad():
        with ordered_patches(embeddings):
            first = embeddings.visual_embed(*given)[0]
        library = [embeddings.visual_embed(*given, -1)[0][0] for _ in range(6)]
    assert "visual_embed" not in vars(embeddings)
    # the same tokens, in an order that is drawn anew
    assert all(torch.cdist(first[0], drawn).amin(1).max() < 1e-5 for drawn in library)
    assert any(not torch.allclose(library[0], drawn) for drawn in library[1:])


def test_streams_are_named_where_they_hold_both(made: Callable[[str], FusionEncoder]) -> None:
    rows = [
        (picture, text)
        for picture in pictures(2, 0, (60, 40))
        for text in ("a dog", "a photo of a man")
    ]
    for kind, image, text in (("vilt", 1 + 2 * 3, 0), ("flava", 1 + 4, 6), ("blip2", 0, 3)):
        model = made(kind)
        batch = model.collate("model", rows)
        words = batch["attention_mask"].bool()
        assert batch["span.text"].sum(1).tolist() == words.sum(1).tolist()
        assert torch.equal(batch["span.text"][:, text : text + words.shape[1]], words)
        if image:
            assert batch["span.image"].sum(1).tolist() == [image] * len(rows)
            assert not bool((batch["span.image"] & batch["span.text"]).any())
        stream = next(p for p in model.ports if (p.stage, p.name) == ("fusion_encoder", "resid"))
        path = stream.path(0)
        tape = record(model, model.towers[0], batch, outputs=[path])
        assert tape.at((path, "out")).shape[:2] == batch["span.text"].shape


def test_spans_name_no_tokens_of_another_stage(made: Callable[[str], FusionEncoder]) -> None:
    assert resolve(made("flava"), ["fusion_encoder/resid.*@image"])
    with pytest.raises(BadStudy, match="another stage's tokens"):
        resolve(made("flava"), ["image_encoder/resid.0@image"])


def test_both_streams_of_bridgetower_carry_all_that_its_encoders_give(
    made: Callable[[str], FusionEncoder],
) -> None:
    model = made("bridgetower")
    image = ["all fusion_encoder/vision_bridge.*", "image_embedding"]
    arms = run(model, [BOTH], resolve(model, image))
    bridge, whole = (score(arms, BOTH, name, "01") for name in image)
    assert torch.allclose(bridge, whole, atol=1e-5)
    assert not torch.allclose(whole, score(arms, BOTH, image[1], "00"), atol=1e-3)


def _random_patches(model: FusionEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def library(net: Any, given: dict[str, Tensor]) -> Tensor:
        return net(**given).logits[:, 0]

    monkeypatch.setattr("vlbias.models.fusion.adapter.SCORES", {**SCORES, model._kind: library})


def _words_without_a_mask(model: FusionEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    collate = model.collate

    def unmasked(tower: str, rows: Any) -> dict[str, Tensor]:
        batch = collate(tower, rows)
        return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}

    monkeypatch.setattr(model, "collate", unmasked)


def _stage_that_forgets_the_text(model: FusionEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = model.towers[0]
    stages = tuple(
        replace(stage, parents=stage.parents[:1]) if stage.name == "fusion_encoder" else stage
        for stage in tower.stages
    )
    monkeypatch.setattr(model, "towers", (replace(tower, stages=stages),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mutate", "caught_by"),
    [
        ("vilt", _random_patches, {REPEATS, PORTS}),
        ("blip", _words_without_a_mask, {ROWS}),
        ("blip2", _words_without_a_mask, {ROWS}),
        ("bridgetower", _words_without_a_mask, {ROWS}),
        ("flava", _words_without_a_mask, {ROWS}),
        ("blip", _stage_that_forgets_the_text, {ROOTS}),
    ],
)
def test_mutants_are_caught(
    kind: str, mutate: Any, caught_by: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fusion(kind)
    mutate(model, monkeypatch)
    found = failed(conformance(model, *sides(2)))
    assert caught_by & set(found)
