"""Minuscule random fusion encoders with real tokenizers and image processors, made loud.

Random weights are for wiring: they show that the engine computes what it says, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import loud
from tiny_tokenizers import bert_tokenizer, roberta_tokenizer

PIXELS, PATCH = 32, 16
SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = {**SHAPE, "image_size": PIXELS, "patch_size": PATCH}
_SIZE = {"height": PIXELS, "width": PIXELS}
Made = tuple[Any, Any, Any]


def _text(tokenizer: Any) -> dict[str, Any]:
    return {**SHAPE, "vocab_size": len(tokenizer), "max_position_embeddings": 24}


def blip() -> Made:
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessor

    tokenizer = bert_tokenizer()
    text = {**_text(tokenizer), "encoder_hidden_size": 16, "projection_dim": 8}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    config = BlipConfig(text_config=text, vision_config=VISION, image_text_hidden_size=8)
    return BlipForImageTextRetrieval(config), BlipImageProcessor(size=_SIZE), tokenizer


def blip2() -> Made:
    from transformers import Blip2Config, Blip2ForImageTextRetrieval, BlipImageProcessor

    tokenizer = bert_tokenizer()
    former = {**_text(tokenizer), "encoder_hidden_size": 16, "use_qformer_text_input": True}
    config = Blip2Config(
        vision_config=VISION,
        qformer_config={**former, "cross_attention_frequency": 2, "pad_token_id": 0},
        num_query_tokens=3,
        image_text_hidden_size=8,
    )
    return Blip2ForImageTextRetrieval(config), BlipImageProcessor(size=_SIZE), tokenizer


def bridgetower() -> Made:
    from transformers import (
        BridgeTowerConfig,
        BridgeTowerForImageAndTextRetrieval,
        BridgeTowerImageProcessor,
    )

    tokenizer = roberta_tokenizer()
    wide = {**SHAPE, "hidden_size": 64}  # heads of its image encoder are 64 wide
    text = {**wide, "vocab_size": len(tokenizer), "max_position_embeddings": 26, "pad_token_id": 1}
    vision = {"hidden_size": 64, "num_hidden_layers": 3, "image_size": PIXELS, "patch_size": PATCH}
    config = BridgeTowerConfig(
        **wide, text_config={**text, "num_hidden_layers": 3}, vision_config=vision
    )
    processor = BridgeTowerImageProcessor(
        size={"shortest_edge": PIXELS}, crop_size={"shortest_edge": PIXELS}, size_divisor=PATCH
    )
    return BridgeTowerForImageAndTextRetrieval(config), processor, tokenizer


def flava() -> Made:
    from transformers import FlavaConfig, FlavaForPreTraining, FlavaImageProcessor

    tokenizer = bert_tokenizer()
    config = FlavaConfig(
        image_config={**VISION, "vocab_size": 8},
        text_config=_text(tokenizer),
        multimodal_config=SHAPE,
        image_codebook_config={"num_groups": 1, "hidden_size": 4, "vocab_size": 8},
        hidden_size=16,
        projection_dim=8,
    )
    return FlavaForPreTraining(config), FlavaImageProcessor(size=_SIZE, crop_size=_SIZE), tokenizer


def vilt() -> Made:
    from transformers import ViltConfig, ViltForImageAndTextRetrieval, ViltImageProcessor

    tokenizer = bert_tokenizer()
    config = ViltConfig(**_text(tokenizer), image_size=64, patch_size=PATCH)
    processor = ViltImageProcessor(size={"shortest_edge": PIXELS}, size_divisor=PATCH)
    return ViltForImageAndTextRetrieval(config), processor, tokenizer


FUSION: dict[str, Callable[[], Made]] = {
    "blip": blip,
    "blip2": blip2,
    "bridgetower": bridgetower,
    "flava": flava,
    "vilt": vilt,
}
SEEDS: dict[str, int] = {}
"""Seeds of weights with which image and text are heard, where those of seed 0 are too quiet."""


def fusion(kind: str) -> Any:
    """The staged model of a family."""
    from vlbias.models.fusion.adapter import FusionEncoder

    torch.manual_seed(0)
    net, processor, tokenizer = FUSION[kind]()
    net = loud(net, SEEDS.get(kind, 0))
    return FusionEncoder(net, processor, tokenizer, name=kind, revision="random")


def write_fusion(kind: str, folder: Path) -> Path:
    """The folder of a family, as `save_pretrained` writes it."""
    model = fusion(kind)
    for part in (model.net, model._processor, model._tokenizer):
        part.save_pretrained(folder)
    return folder
