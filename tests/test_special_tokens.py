"""Special tokens that are written in captions or class names: refused by name, by every adapter."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from tiny_detectors import GROUNDED, OWLS
from tiny_models import HF
from tiny_photos import CLASSES

from vlbias.causal.example import GroundedText, Picture
from vlbias.errors import BadData
from vlbias.models.special_tokens import refuse_special_tokens


@pytest.mark.parametrize("name", [*HF, "openclip", *OWLS])
def test_a_special_token_in_a_caption_is_refused(load: Callable[[str], Any], name: str) -> None:
    model = load(name)
    inner = getattr(model._tokenizer, "tokenizer", model._tokenizer)
    special = getattr(inner, "all_special_tokens", ["<start_of_text>"])
    token = next(token for token in special if len(token) > 1)
    model.collate("text_encoder", ["a man"])
    for written in (token, token.upper()):
        with pytest.raises(BadData, match="a token of its own"):
            model.collate("text_encoder", ["a man", f"a {written} man"])


@pytest.mark.parametrize("name", [*GROUNDED, "omdet-turbo"])
def test_a_special_token_before_a_list_of_classes_is_refused(
    load: Callable[[str], Any], name: str
) -> None:
    model, image = load(name), Picture(Image.new("RGB", (64, 48)))
    written = "<|endoftext|>" if name == "omdet-turbo" else "[SEP]"
    for caption, fine in (("a man. ", True), (f"a {written} man. ", False)):
        text = GroundedText(caption, CLASSES)
        towers = model.split({"image": image, "text": text})
        tower = next(one.name for one in model.towers if "text" in one.channels)
        if fine:
            model.collate(tower, towers[tower])
            continue
        with pytest.raises(BadData, match="a token of its own"):
            model.collate(tower, towers[tower])


def test_a_pad_of_one_sign_is_a_word_as_well() -> None:
    tokenizer = SimpleNamespace(all_special_tokens=["!", "<end>"])
    refuse_special_tokens("m", tokenizer, ["what a wave!"])
    with pytest.raises(BadData, match="'a <END> of' holds '<end>', which m reads"):
        refuse_special_tokens("m", tokenizer, ["fine", "a <END> of"])
