"""Where the blocks of each encoder and language model keep their branches, reviewed class by class.

A line says which module gives what is added to the stream (up to a fixed scale), and which linear map ends a
branch: heads and neurons are slices of its input. Each was read in the forward pass of its class; a
conformance check shows that a replacement is made, not that it is made at the right place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from vlbias.causal.staged_model import Port

__all__ = ["BLOCKS", "BlockLayout", "block_list", "tower_ports"]


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Paths of the branches, relative to a block.

    Args:
        attn: What the attention adds to the stream.
        attn_out: The last linear map of the attention.
        mlp: What the MLP adds to the stream.
        mlp_out: The last linear map of the MLP.
        kind: What the ports of such blocks are called by where a tower has several kinds.
        heads: Key of the configuration with the number of heads, where it is another than usual.
    """

    attn: str
    attn_out: str
    mlp: str = "mlp"
    mlp_out: str = "mlp.fc2"
    kind: str = ""
    heads: str = ""


_CLIP = BlockLayout("self_attn", "self_attn.out_proj")
_DINO = BlockLayout("layer_scale1", "attention.o_proj", "layer_scale2")
_QWEN = BlockLayout("attn", "attn.proj", mlp_out="mlp.linear_fc2")
_LLAMA = BlockLayout("self_attn", "self_attn.o_proj", mlp_out="mlp.down_proj")
# these normalise what a branch gives before they add it
_SANDWICH = replace(_LLAMA, attn="post_attention_layernorm", mlp="post_feedforward_layernorm")
_OPT = BlockLayout("self_attn", "self_attn.out_proj", "fc2", "fc2")
_DELTA = replace(
    _LLAMA,
    attn="linear_attn",
    attn_out="linear_attn.out_proj",
    kind="linear",
    heads="linear_num_value_heads",
)
_CROSS = replace(_LLAMA, attn="cross_attn", attn_out="cross_attn.o_proj", kind="cross")
_T5_FIRST = BlockLayout(
    "layer.0.SelfAttention",
    "layer.0.SelfAttention.o",
    "layer.1.DenseReluDense",
    "layer.1.DenseReluDense.wo",
)
_T5_THIRD = replace(_T5_FIRST, mlp="layer.2.DenseReluDense", mlp_out="layer.2.DenseReluDense.wo")
BLOCKS: dict[str, tuple[BlockLayout, ...]] = {
    # encoders of images
    "Blip2EncoderLayer": (replace(_CLIP, attn_out="self_attn.projection"),),
    "CLIPEncoderLayer": (_CLIP,),
    "Dinov2Layer": (
        _DINO,
        replace(_DINO, mlp_out="mlp.weights_out"),
        replace(_DINO, attn_out="attention.output.dense"),
    ),
    "Gemma4VisionEncoderLayer": (_SANDWICH,),
    "Glm4vVisionBlock": (replace(_QWEN, mlp_out="mlp.down_proj"),),
    "Idefics2EncoderLayer": (_CLIP,),
    "Idefics3EncoderLayer": (_CLIP,),
    "InstructBlipEncoderLayer": (replace(_CLIP, attn_out="self_attn.projection"),),
    "InternVLVisionLayer": (BlockLayout("attention", "attention.projection_layer"),),
    "JanusVisionEncoderLayer": (replace(_CLIP, attn_out="self_attn.projection_layer"),),
    "Kosmos2VisionEncoderLayer": (_CLIP,),
    "MllamaVisionEncoderLayer": (
        replace(_CLIP, attn_out="self_attn.o_proj", heads="attention_heads"),
    ),
    "Molmo2VisionEncoderLayer": (replace(_CLIP, attn_out="self_attn.o_proj"),),
    "Phi4MultimodalVisionEncoderLayer": (_CLIP,),
    "Qwen2VLVisionBlock": (replace(_QWEN, mlp_out="mlp.fc2"),),
    "Qwen2_5_VLVisionBlock": (replace(_QWEN, mlp_out="mlp.down_proj"),),
    "Qwen3VLVisionBlock": (_QWEN,),
    "Qwen3_5VisionBlock": (_QWEN,),
    "SiglipEncoderLayer": (_CLIP,),
    "SmolVLMEncoderLayer": (_CLIP,),
    # language models
    "BartDecoderLayer": (replace(_OPT, heads="decoder_attention_heads"),),
    "BartEncoderLayer": (replace(_OPT, heads="encoder_attention_heads"),),
    "Cohere2DecoderLayer": (_LLAMA,),
    "Gemma2DecoderLayer": (_SANDWICH,),
    "Gemma3DecoderLayer": (_SANDWICH,),
    "Gemma4TextDecoderLayer": (_SANDWICH,),
    "GemmaDecoderLayer": (_LLAMA,),
    "Glm4vTextDecoderLayer": (
        replace(_LLAMA, attn="post_self_attn_layernorm", mlp="post_mlp_layernorm"),
    ),
    "Kosmos2TextBlock": (
        BlockLayout("self_attn", "self_attn.out_proj", "ffn", "ffn.fc2", heads="attention_heads"),
    ),
    "LlamaDecoderLayer": (_LLAMA,),
    "MistralDecoderLayer": (_LLAMA,),
    "MllamaCrossAttentionDecoderLayer": (_CROSS,),
    "MllamaSelfAttentionDecoderLayer": (_LLAMA,),
    "Molmo2DecoderLayer": (_LLAMA,),
    "OPTDecoderLayer": (_OPT,),
    "Phi4MultimodalDecoderLayer": (_LLAMA,),
    "Qwen2DecoderLayer": (_LLAMA,),
    "Qwen2VLDecoderLayer": (_LLAMA,),
    "Qwen2_5_VLDecoderLayer": (_LLAMA,),
    "Qwen3DecoderLayer": (_LLAMA,),
    "Qwen3VLTextDecoderLayer": (_LLAMA,),
    "Qwen3_5DecoderLayer": (_LLAMA, _DELTA),
    "T5Block": (_T5_THIRD, _T5_FIRST),
}
"""Class of a block to its layouts; of several, the first whose modules a block has."""
_HEADS = ("num_attention_heads", "num_heads", "attention_heads")


def block_list(tower: nn.Module) -> str:
    """Dotted path of a tower's longest list of blocks that are known; empty if there is none."""
    lists = {
        name: len(module)
        for name, module in tower.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and all(_layout(m) for m in module)
    }
    return max(lists, key=lambda name: lists[name]) if lists else ""


def tower_ports(
    stage: str, root: str, tower: nn.Module, *, cut: bool, length: str | None
) -> tuple[Port, ...]:
    """The ports of an encoder or a language model; none if its blocks are not known.

    Args:
        stage: That it is.
        root: Its dotted path.
        tower: The module there.
        cut: Whether its stream passes nothing by.
        length: Key of the batch with the tokens of each row, where rows are padded.
    """
    place = block_list(tower)
    if not place:
        return ()
    blocks: Any = tower.get_submodule(place)
    layouts = [_layout(block) for block in blocks]
    block = f"{root}.{place}.{{layer}}"
    width = _linear(blocks[0], layouts[0].mlp_out).out_features
    resid = Port(stage, "resid", block, "out", len(blocks), width, cut=cut, length=length)
    branches = []
    for layout in dict.fromkeys(layouts):
        members = [i for i, other in enumerate(layouts) if other == layout]
        names = () if len(members) == len(blocks) else tuple(map(str, members))
        branches += [
            replace(port, names=names, length=length)
            for port in _branches(stage, block, [blocks[i] for i in members], layout, tower)
        ]
    # named spans mark the tokens of the language model, whose rows are padded
    return tuple(replace(port, spans=length is not None) for port in (resid, *branches))


def _branches(
    stage: str, block: str, blocks: Sequence[nn.Module], layout: BlockLayout, tower: nn.Module
) -> Iterator[Port]:
    kind, count = f"{layout.kind}_" if layout.kind else "", len(blocks)
    last = [_linear(one, layout.mlp_out) for one in blocks]
    width = last[0].out_features
    neurons = tuple(int(linear.in_features) for linear in last)
    heads = _heads(tower.config, [layout.heads] if layout.heads else _HEADS)
    yield Port(stage, f"{kind}attn", f"{block}.{layout.attn}", "out", count, width)
    yield Port(stage, f"{kind}mlp", f"{block}.{layout.mlp}", "out", count, width)
    yield Port(stage, f"{kind}head", f"{block}.{layout.attn_out}", "in", count, heads)
    yield Port(stage, f"{kind}neuron", f"{block}.{layout.mlp_out}", "in", count, neurons)


def _heads(config: Any, keys: Sequence[str]) -> int:
    return next(int(getattr(config, key)) for key in keys if getattr(config, key, None))


def _layout(block: nn.Module) -> Any:
    known = BLOCKS.get(type(block).__name__, ())
    return next((layout for layout in known if _has(block, layout)), None)


def _has(block: nn.Module, layout: BlockLayout) -> bool:
    there = {name for name, _ in block.named_modules()}
    return {layout.attn, layout.attn_out, layout.mlp, layout.mlp_out} <= there


def _linear(block: nn.Module, path: str) -> nn.Linear:
    """The linear map at a path, which a family may wrap."""
    return next(m for m in block.get_submodule(path).modules() if isinstance(m, nn.Linear))
