"""Where OmDet-Turbo keeps its stages, branches and heads.

The decoder is the fusion: every layer's self-attention runs over the queries with the tokens of the task
behind them, and its output, the port "fused", holds both streams. "query_stream" is that of the queries
at the end of a layer.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from torch import nn

from vlbias.causal.staged_model import Port, Stage
from vlbias.errors import BadModel
from vlbias.models.encoder_blocks import CLIP, Blocks, backbone_ports, block_ports, widths

__all__ = ["CLASSES", "FOUND", "TASK", "gated", "stages_and_ports"]

TASK, CLASSES, FOUND = "task_gate", "class_gate", "found_gate"
"""Modules that pass on what they get: tensors that the model lays out otherwise, here with rows first."""

_BACKBONE, _TEXT = "vision_backbone.vision_backbone", "language_backbone.model"
_TIMM = Blocks("layers_{layer}", "attn", "attn.proj", "mlp", "mlp.fc2", "patch_embed")


def gated(net: nn.Module) -> nn.Module:
    """The net with the gates; its weights and its own forward pass stay what they are."""
    for name in (TASK, CLASSES, FOUND):
        net.add_module(name, nn.Identity())
    return net


def stages_and_ports(net: nn.Module, config: Any) -> tuple[tuple[Stage, ...], tuple[Port, ...]]:
    """The stages and ports of an OmDet-Turbo.

    The backbone is the image encoder, or a backbone of a family that is not known has no ports; the
    hybrid encoder behind it is its neck. Text enters the decoder by two ways, as task and as
    classes, each a port of the text encoder.

    Raises:
        BadModel: if the text encoder is not CLIP's.
    """
    text = config.text_config
    if text.model_type != "clip_text_model":
        raise BadModel(
            f"a {text.model_type!r} text encoder is not known; OmDet-Turbo is published with "
            "'clip_text_model'"
        )
    layers = tuple(f"{_TEXT}.encoder.layers.{i}" for i in range(text.num_hidden_layers))
    stages = (
        Stage("image_encoder", "vision_backbone"),
        Stage("hybrid_encoder", "encoder", ("image_encoder",)),
        Stage("text_encoder", _TEXT, blocks=layers),
        # its other inputs tell which tokens are the task, and must be equal in rows that exchange values
        Stage("decoder", FOUND, ("hybrid_encoder", "text_encoder")),
    )
    return stages, (*_backbone(net, config), *_hybrid(config), *_read(text), *_decoder(config))


def _backbone(net: nn.Module, config: Any) -> tuple[Port, ...]:
    if config.backbone_config.model_type != "timm_backbone":
        return backbone_ports(net, _BACKBONE, config.backbone_config)
    stem = f"{_BACKBONE}._backbone"
    found = ((re.fullmatch(r"layers_(\d+\.blocks\.\d+)", name), module)
             for name, module in net.get_submodule(stem).named_modules())  # fmt: skip
    blocks = [(match[1], module) for match, module in found if match]
    if not blocks:
        return ()
    names = tuple(name for name, _ in blocks)
    attention: list[Any] = [module.attn for _, module in blocks]
    heads = tuple(int(attn.num_heads) for attn in attention)
    stream = (
        Port("image_encoder", "embed", f"{stem}.{_TIMM.embed}"),
        Port("image_encoder", "resid", f"{stem}.{_TIMM.path}", "out", len(names), names=names),
    )
    neurons = widths(net, stem, _TIMM, names)
    return (*stream, *block_ports("image_encoder", stem, _TIMM, names, heads, neurons))


def _hybrid(config: Any) -> tuple[Port, ...]:
    stage, heads = "hybrid_encoder", config.encoder_attention_heads
    levels = range(len(config.encoder_projection_indices))
    names = tuple(f"{i}.layers.{j}" for i in levels for j in range(config.encoder_layers))
    layer, count = "encoder.encoder.{layer}", len(names)
    inputs = len(config.encoder_in_channels)
    return (
        Port(stage, "projection", "encoder.channel_projection_layers.{layer}", layers=inputs),
        Port(stage, "attn", f"{layer}.self_attn", "out", count, names=names),
        Port(stage, "head", f"{layer}.self_attn.out_proj", "in", count, heads, names=names),
        Port(stage, "mlp", f"{layer}.fc2", "out", count, names=names),
    )


def _read(config: Any) -> tuple[Port, ...]:
    stage, layers = "text_encoder", config.num_hidden_layers
    names = tuple(map(str, range(layers)))
    heads, neurons = ((n,) * layers for n in (config.num_attention_heads, config.intermediate_size))
    inside = (
        Port(stage, "embed", f"{_TEXT}.embeddings", "out", cut=True),
        Port(stage, "resid", f"{_TEXT}.{CLIP.path}", "out", layers, cut=True),
        *block_ports(stage, _TEXT, CLIP, names, heads, neurons),
    )
    return (
        *(replace(port, length="length") for port in inside),
        Port(stage, "task", TASK, length="task_length"),
        Port(stage, "classes", CLASSES),
    )


def _decoder(config: Any) -> tuple[Port, ...]:
    stage, layers, heads = "decoder", config.decoder_num_layers, config.decoder_num_heads
    layer = "decoder.layers.{layer}"
    both = (
        Port(stage, "attn", f"{layer}.self_attn", "out", layers),
        Port(stage, "head", f"{layer}.self_attn.out_proj", "in", layers, heads),
        Port(stage, "fused", f"{layer}.norm1", "out", layers),
    )
    return (
        *(replace(port, length="fused_length") for port in both),
        Port(stage, "vision_attn", f"{layer}.cross_attn", "out", layers),
        Port(stage, "vision_head", f"{layer}.cross_attn.output_proj", "in", layers, heads),
        Port(stage, "mlp", f"{layer}.linear2", "out", layers),
        Port(stage, "query_stream", f"{layer}.norm3", "out", layers),
    )
