"""Where families of encoders keep their blocks, branches and heads, shared by adapters that hold several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from vlbias.causal.staged_model import Port

__all__ = ["BACKBONES", "BERT", "CLIP", "Blocks", "backbone_ports", "block_ports", "widths"]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where one family of encoders keeps its blocks, and in a block the two branches.

    `attn` and `mlp` end in what is added to the residual stream (up to a fixed scale); heads and
    neurons are slices of the inputs of `attn_out` and `mlp_out`.
    """

    path: str
    attn: str
    attn_out: str
    mlp: str
    mlp_out: str
    embed: str = "embeddings"


BERT = Blocks(
    "encoder.layer.{layer}",
    "attention.output.dense",
    "attention.output.dense",
    "output.dense",
    "output.dense",
)
CLIP = Blocks("encoder.layers.{layer}", "self_attn", "self_attn.out_proj", "mlp", "mlp.fc2")
_DINOV2 = Blocks("encoder.layer.{layer}", "attention", "attention.o_proj", "mlp", "mlp.fc2")
_SWIN = Blocks(
    "swin.encoder.layers.{layer}",
    "attention",
    "attention.o_proj",
    "mlp",
    "mlp.fc2",
    "swin.embeddings",
)
BACKBONES = {"dinov2": _DINOV2, "dinov2_with_registers": _DINOV2, "swin": _SWIN}
"""Model type of a backbone to its blocks."""


def block_ports(
    stage: str,
    stem: str,
    blocks: Blocks,
    names: tuple[str, ...],
    heads: tuple[int, ...],
    neurons: tuple[int, ...],
) -> tuple[Port, ...]:
    """Branches, heads and neurons of every block.

    Args:
        stage: That the encoder is.
        stem: Dotted path of the encoder.
        blocks: Its family.
        names: What stands for "{layer}" in the path of each block.
        heads: Of each block.
        neurons: Of each block.
    """
    block = f"{stem}.{blocks.path}"
    layers = len(names)
    return (
        Port(stage, "attn", f"{block}.{blocks.attn}", "out", layers, names=names),
        Port(stage, "mlp", f"{block}.{blocks.mlp}", "out", layers, names=names),
        Port(stage, "head", f"{block}.{blocks.attn_out}", "in", layers, heads, names=names),
        Port(stage, "neuron", f"{block}.{blocks.mlp_out}", "in", layers, neurons, names=names),
    )


def backbone_ports(net: nn.Module, stem: str, config: Any) -> tuple[Port, ...]:
    """The ports of a backbone that is the stage "image_encoder"; none if its family is not known.

    Args:
        net: The model.
        stem: Dotted path of the backbone.
        config: Its configuration.
    """
    blocks = BACKBONES.get(config.model_type)
    if blocks is None:
        return ()
    if config.model_type == "swin":
        depths = config.depths
        names = tuple(f"{i}.blocks.{j}" for i, depth in enumerate(depths) for j in range(depth))
        heads = tuple(
            n for n, depth in zip(config.num_heads, depths, strict=True) for _ in range(depth)
        )
    else:
        names = tuple(map(str, range(config.num_hidden_layers)))
        heads = (config.num_attention_heads,) * len(names)
    neurons = widths(net, stem, blocks, names)
    block = f"{stem}.{blocks.path}"
    # no cut: feature levels of earlier blocks pass by it
    stream = (
        Port("image_encoder", "embed", f"{stem}.{blocks.embed}"),
        Port("image_encoder", "resid", block, "out", len(names), names=names),
    )
    return (*stream, *block_ports("image_encoder", stem, blocks, names, heads, neurons))


def widths(net: nn.Module, stem: str, blocks: Blocks, names: tuple[str, ...]) -> tuple[int, ...]:
    """How many neurons each block has; arguments as those of `block_ports`."""
    paths = (f"{stem}.{blocks.path.format(layer=name)}.{blocks.mlp_out}" for name in names)
    return tuple(int(net.get_submodule(path).in_features) for path in paths)  # type: ignore[arg-type]
