"""Where GLIP has its stages, branches and heads.

Ports of the fusion encoder are named after the stream they change, as those of Grounding DINO:
"text_to_image" is what the vision stream takes over from the text, "image_to_text" the reverse.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from vlbias.causal.staged_model import Port, Stage
from vlbias.models.encoder_blocks import BERT, Blocks, block_ports, widths
from vlbias.models.glip.shape import GlipConfig

__all__ = ["stages_and_ports"]

_BODY, _TEXT = "backbone.body", "language_backbone.body.model"
_TOWER = "rpn.head.dyhead_tower"
_SWIN = Blocks("layers.{layer}", "attn", "attn.proj", "mlp", "mlp.fc2", "patch_embed")
_NECK = ("fpn_layer2", "fpn_layer3", "fpn_layer4", "top_blocks.p6", "top_blocks.p7")


def stages_and_ports(
    net: nn.Module, config: GlipConfig
) -> tuple[tuple[Stage, ...], tuple[Port, ...]]:
    """The stages and ports of a GLIP.

    Without deep fusion, image and text meet in the head only: what lies before it is the dynamic head on the
    image.
    """
    layers = tuple(f"{_TEXT}.{BERT.path.format(layer=i)}" for i in _numbers(config.text_config))
    steps = tuple(f"{_TOWER}.{i}" for i in range(_steps(config) * config.num_layers))
    before = "fusion_encoder" if config.fused else "dynamic_head"
    stages = (
        Stage("image_encoder", "backbone"),
        Stage("text_encoder", "language_backbone", blocks=layers),
        Stage(before, _TOWER, ("image_encoder", "text_encoder"), steps),
        # its other input is the class of each token, which must be equal in rows that exchange values
        Stage("head", "rpn.head.found", (before,)),
    )
    return stages, (*_image(net, config), *_text(net, config), *_fusion(config, before), *_head())


def _numbers(config: object) -> range:
    return range(config.num_hidden_layers)  # type: ignore[attr-defined]


def _steps(config: GlipConfig) -> int:
    return 3 if config.fused else 1


def _image(net: nn.Module, config: GlipConfig) -> tuple[Port, ...]:
    stage = "image_encoder"
    names = tuple(f"{i}.blocks.{j}" for i, n in enumerate(config.depths) for j in range(n))
    heads = tuple(
        heads for heads, n in zip(config.num_heads, config.depths, strict=True) for _ in range(n)
    )
    neurons = widths(net, _BODY, _SWIN, names)
    # no cut: feature levels of earlier blocks pass by it
    return (
        Port(stage, "embed", f"{_BODY}.{_SWIN.embed}"),
        Port(stage, "resid", f"{_BODY}.{_SWIN.path}", "out", len(names), names=names),
        *block_ports(stage, _BODY, _SWIN, names, heads, neurons),
        Port(stage, "neck", "backbone.fpn.{layer}", layers=len(_NECK), names=_NECK),
    )


def _text(net: nn.Module, config: GlipConfig) -> tuple[Port, ...]:
    stage, text = "text_encoder", config.text_config
    names = tuple(map(str, _numbers(text)))
    heads = (text.num_attention_heads,) * len(names)
    # the text encoder reads nothing else, so that a block's output is all that later ones know
    stream = Port(stage, "resid", f"{_TEXT}.{BERT.path}", "out", len(names), cut=True)
    ports = block_ports(stage, _TEXT, BERT, names, heads, widths(net, _TEXT, BERT, names))
    return tuple(_with_length(port) for port in (stream, *ports))


def _with_length(port: Port) -> Port:
    return replace(port, length="length")


def _fusion(config: GlipConfig, stage: str) -> tuple[Port, ...]:
    count = config.num_layers
    exchange, text, image = (
        tuple(str(_steps(config) * (i + 1) - back) for i in range(count)) for back in (3, 2, 1)
    )
    layer = f"{_TOWER}.{{layer}}"
    stream = Port(stage, "vision_stream", f"{layer}.stream", "out", count, names=image)
    if not config.fused:
        return (stream,)
    cross, heads = f"{layer}.b_attn.attn", config.fusion_heads
    attended, own = f"{layer}.attention.output.dense", config.text_config.num_attention_heads
    on_text = (
        Port(stage, "text_stream", f"{layer}.output", "out", count, names=text),
        Port(stage, "image_to_text", f"{cross}.out_l_proj", "out", count, names=exchange),
        Port(
            stage, "image_to_text_head", f"{cross}.out_l_proj", "in", count, heads, names=exchange
        ),
        Port(stage, "text_attn", attended, "out", count, names=text),
        Port(stage, "text_head", attended, "in", count, own, names=text),
        Port(stage, "text_mlp", f"{layer}.output.dense", "out", count, names=text),
    )
    return (
        stream,
        Port(stage, "text_to_image", f"{cross}.out_v_proj", "out", count, names=exchange),
        Port(
            stage, "text_to_image_head", f"{cross}.out_v_proj", "in", count, heads, names=exchange
        ),
        *map(_with_length, on_text),
    )


def _head() -> tuple[Port, ...]:
    words = Port("head", "words", "rpn.head.dot_product_projection_text", length="length")
    parts = (Port("head", name, f"rpn.head.{path}") for name, path in _PREDICTED.items())
    return (words, *parts)


_PREDICTED = {"boxes": "bbox_pred", "centerness": "centerness"}
