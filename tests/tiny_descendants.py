"""Minuscule random dual encoders of the families that came after CLIP, made loud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tiny_fusion import PIXELS, SHAPE, VISION, _text
from tiny_models import loud
from tiny_tokenizers import bert_tokenizer, roberta_tokenizer
from torch import nn

_SIZE = {"height": PIXELS, "width": PIXELS}


def _clip_processor() -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": PIXELS}, crop_size=_SIZE)


def _align() -> tuple[Any, Any, Any]:
    from transformers import AlignConfig, AlignModel, EfficientNetImageProcessor

    tokenizer = bert_tokenizer()
    vision = {
        "image_size": PIXELS,
        "width_coefficient": 0.25,
        "depth_coefficient": 0.1,
        "in_channels": [8, 8],
        "out_channels": [8, 8],
        "kernel_sizes": [3, 3],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
        "depthwise_padding": [],
        "hidden_dim": 8,
    }
    config = AlignConfig(text_config=_text(tokenizer), vision_config=vision, projection_dim=8)
    processor = EfficientNetImageProcessor(size=_SIZE, do_center_crop=False)
    return AlignModel(config), processor, tokenizer


def _altclip() -> tuple[Any, Any, Any]:
    from transformers import AltCLIPConfig, AltCLIPModel

    tokenizer = roberta_tokenizer()
    text = {**SHAPE, "vocab_size": len(tokenizer), "max_position_embeddings": 26, "pad_token_id": 1}
    config = AltCLIPConfig(
        text_config={**text, "project_dim": 16}, vision_config=VISION, projection_dim=12
    )
    return AltCLIPModel(config), _clip_processor(), tokenizer


def _chinese_clip() -> tuple[Any, Any, Any]:
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    tokenizer = bert_tokenizer()
    config = ChineseCLIPConfig(
        text_config=_text(tokenizer), vision_config=VISION, projection_dim=12
    )
    processor = ChineseCLIPImageProcessor(size=_SIZE, crop_size=_SIZE)
    return ChineseCLIPModel(config), processor, tokenizer


DESCENDANTS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "align": _align,
    "altclip": _altclip,
    "chinese_clip": _chinese_clip,
}


SEEDS = {"altclip": 1}
"""Seeds of weights with which image and text are heard, where those of seed 0 are too quiet."""


def descendant(kind: str) -> Any:
    """The staged model of a family."""
    from vlbias.models.dual import HfDual

    torch.manual_seed(0)
    net, processor, tokenizer = DESCENDANTS[kind]()
    net = loud(net, SEEDS.get(kind, 0))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # random scales would deafen what is behind them
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return HfDual(net, processor, tokenizer, name=kind, revision="random")
