"""Worlds of unequal shape, and positions that a text lacks."""

from __future__ import annotations

import pytest
import tiny_photos
import torch
from engine_runs import ADAPTERS, BOTH, Load, examples_of, run, score

from vlbias.causal.example import Example
from vlbias.causal.staged_model import resolve
from vlbias.errors import BadStudy


def misaligned_examples() -> list[Example]:
    images = tiny_photos.pictures(4)
    return [
        Example(str(i), str(i), {"null": {"image": images[i], "text": text},
                                 "both": {"image": images[2 + i], "text": other}})
        for i, (text, other) in enumerate(
            [("a man on the street", "a very big person on the street"),
             ("a man on the street", "a person on the street")]
        )
    ]  # fmt: skip


@pytest.mark.parametrize("name", ADAPTERS)
def test_texts_of_unequal_length_are_skipped_inside_and_kept_whole(load: Load, name: str) -> None:
    model = load(name)
    inside = (
        "text_encoder/attn.1",
        "text_encoder/mlp.0",
        "image_encoder/attn.0+text_encoder/mlp.0",
    )
    outside = ("text_encoder", "image_encoder/mlp.1", "image_encoder+text_encoder")
    mediators = resolve(model, [*inside, *outside])
    both = misaligned_examples()
    for examples in (both, both[:1]):
        arms = run(model, [BOTH], mediators, examples)
        for arm in ("01", "10"):
            for mediator in inside:
                found = arms[BOTH, mediator, arm]
                assert found.misaligned.tolist() == [True, False][: len(examples)]
                assert torch.equal(found.readout["score"].isnan(), found.misaligned)
            for mediator in outside:
                found = arms[BOTH, mediator, arm]
                assert not found.misaligned.any()
                assert not found.readout["score"].isnan().any()
        whole = score(arms, BOTH, "image_encoder+text_encoder", "01")
        assert torch.equal(whole, score(arms, BOTH, "", "11"))


def test_photos_of_unequal_shape_are_skipped_inside_siglip2(load: Load) -> None:
    wide, tall = (
        tiny_photos.pictures(1, size=(60, 20))[0],
        tiny_photos.pictures(1, size=(20, 60))[0],
    )
    text = {"text": "a man"}
    example = Example("0", "0", {"null": {"image": wide, **text}, "both": {"image": tall, **text}})
    model = load("siglip2")
    arms = run(model, [BOTH], resolve(model, ["image_encoder/attn.0", "image_encoder"]), [example])
    assert arms[BOTH, "image_encoder/attn.0", "01"].misaligned.tolist() == [True]
    assert torch.equal(score(arms, BOTH, "image_encoder", "01"), score(arms, BOTH, "", "11"))


@pytest.mark.parametrize("site", ["text_encoder/attn.0@9", "text_encoder/attn.0@-9"])
def test_a_position_that_a_text_lacks_is_refused(load: Load, site: str) -> None:
    """Though the longest text of the batch has it: results would depend on the neighbours."""
    model = load("dinov2-bert")
    with pytest.raises(BadStudy) as caught:
        run(model, [BOTH], resolve(model, [site]), examples_of(2))
    assert caught.value.given == site
