"""Where Grounding DINO keeps its stages, branches and heads.

Ports of the fusion encoder are named after the stream they change: "text_to_image" is what the
vision stream takes over from the text, "image_to_text" the reverse.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from vlbias.causal.staged_model import Port, Stage
from vlbias.errors import BadModel
from vlbias.models.encoder_blocks import BERT, backbone_ports, block_ports, widths

__all__ = ["stages_and_ports"]


_TEXT = {"bert": BERT, "roberta": BERT}
_BACKBONE = "model.backbone.conv_encoder.model"


def stages_and_ports(net: nn.Module, config: Any) -> tuple[tuple[Stage, ...], tuple[Port, ...]]:
    """The stages and ports of a Grounding DINO or MM Grounding DINO.

    The image encoder is the backbone; its neck, the projection of each feature level, is a port. A
    backbone of a family that is not known has no other ports.

    Raises:
        BadModel: if the text encoder is of a family whose blocks are not known.
    """
    text = config.text_config.model_type
    if text not in _TEXT:
        raise BadModel(
            f"the blocks of a {text!r} text encoder are not known; known are {', '.join(_TEXT)}. Add "
            "a line to _TEXT in vlbias/models/grounding/layout.py."
        )
    blocks = tuple(f"model.encoder.layers.{i}" for i in range(config.encoder_layers))
    layers = tuple(
        f"model.text_backbone.encoder.layer.{i}"
        for i in range(config.text_config.num_hidden_layers)
    )
    stages = (
        Stage("image_encoder", "model.backbone"),
        Stage("text_encoder", "model.text_backbone", blocks=layers),
        # the class head compares what the decoder found with this stage's text
        Stage(
            "fusion_encoder", "model.encoder", ("image_encoder", "text_encoder"), blocks, ends=True
        ),
        # its other inputs are masks, which must be equal in rows that exchange values
        Stage("decoder", "model.decoder", ("fusion_encoder",)),
    )
    ports = (
        *backbone_ports(net, _BACKBONE, config.backbone_config),
        Port(
            "image_encoder",
            "neck",
            "model.input_proj_vision.{layer}",
            layers=config.num_feature_levels,
        ),
        *_text(net, config.text_config),
        *_fusion(config),
        *_decoder(config),
    )
    return stages, ports


def _text(net: nn.Module, config: Any) -> tuple[Port, ...]:
    stem, blocks = "model.text_backbone", _TEXT[config.model_type]
    names = tuple(map(str, range(config.num_hidden_layers)))
    heads = (config.num_attention_heads,) * len(names)
    ports = block_ports(
        "text_encoder", stem, blocks, names, heads, widths(net, stem, blocks, names)
    )
    # the text encoder reads nothing else, so that a block's output is all that later ones know
    stream = Port("text_encoder", "resid", f"{stem}.{blocks.path}", "out", len(names), cut=True)
    return tuple(_with_length(port) for port in (stream, *ports))


def _with_length(port: Port) -> Port:
    return replace(port, length="length")


def _fusion(config: Any) -> tuple[Port, ...]:
    stage, layers = "fusion_encoder", config.encoder_layers
    layer = "model.encoder.layers.{layer}"
    cross, text, vision = (
        f"{layer}.{part}"
        for part in ("fusion_layer.attn", "text_enhancer_layer", "deformable_layer")
    )
    # cross-attention and text layers have half as many heads as the deformable ones
    half = config.encoder_attention_heads // 2
    on_text = (
        Port(stage, "text_stream", text, "out", layers),
        Port(stage, "image_to_text", f"{cross}.out_text_proj", "out", layers),
        Port(stage, "image_to_text_head", f"{cross}.out_text_proj", "in", layers, half),
        Port(stage, "text_attn", f"{text}.self_attn", "out", layers),
        Port(stage, "text_head", f"{text}.self_attn.out_proj", "in", layers, half),
        Port(stage, "text_mlp", f"{text}.fc2", "out", layers),
    )
    return (
        Port(stage, "vision_stream", vision, "out", layers),
        Port(stage, "text_to_image", f"{cross}.out_vision_proj", "out", layers),
        Port(stage, "text_to_image_head", f"{cross}.out_vision_proj", "in", layers, half),
        Port(stage, "vision_attn", f"{vision}.self_attn", "out", layers),
        Port(stage, "vision_head", f"{vision}.self_attn.output_proj", "in", layers, 2 * half),
        Port(stage, "vision_mlp", f"{vision}.fc2", "out", layers),
        *map(_with_length, on_text),
    )


def _decoder(config: Any) -> tuple[Port, ...]:
    stage, layers, heads = "decoder", config.decoder_layers, config.decoder_attention_heads
    layer = "model.decoder.layers.{layer}"
    return (
        Port(stage, "attn", f"{layer}.self_attn", "out", layers),
        Port(stage, "head", f"{layer}.self_attn.out_proj", "in", layers, heads),
        Port(stage, "text_attn", f"{layer}.encoder_attn_text", "out", layers),
        Port(stage, "text_head", f"{layer}.encoder_attn_text.out_proj", "in", layers, heads),
        Port(stage, "vision_attn", f"{layer}.encoder_attn", "out", layers),
        Port(stage, "vision_head", f"{layer}.encoder_attn.output_proj", "in", layers, heads),
        Port(stage, "mlp", f"{layer}.fc2", "out", layers),
    )
