"""Where each fusion encoder keeps its stages and branches, reviewed class by class.

Ports are named as those of grounded detectors: "image_to_text" is what a text stream takes over from the image.
A stream that holds the tokens of both is "resid"; its tokens are named spans, such as "resid.3@image".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from vlbias.causal.staged_model import Port, Stage

__all__ = ["DENSE", "LAYOUTS", "STREAM", "TEXT", "VISION", "Layout", "Part", "drawn", "ports_of"]

IMAGE, FUSION, MATCH = "image_encoder", "fusion_encoder", "match"
TEXT, STREAM = "length", "stream_length"
"""Keys of a batch: tokens of a row's text, and of its stream of both."""
DENSE = "attention.output.dense"
_CROSS = "crossattention.output.dense"


@dataclass(frozen=True, slots=True)
class Part:
    """Blocks of one kind, and what their ports are called.

    Args:
        stage: That they are in.
        blocks: Dotted path of their list.
        config: Attribute of the configuration with the number of heads; "" for the whole one.
        attentions: Name of a port to the last linear map of an attention, relative to a block.
        mlps: The same of MLPs.
        stream: Name of the port that is the output of a block.
        cut: Whether replacing that replaces all before it.
        length: Key of the batch with the tokens of a row there, where rows are padded.
        chain: Whether each block is read by the next and by nothing else.
    """

    stage: str
    blocks: str
    config: str
    attentions: Mapping[str, str]
    mlps: Mapping[str, str]
    stream: str = "resid"
    cut: bool = True
    length: str | None = None
    chain: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """One class.

    Args:
        image: Dotted path of the stage that reads the image.
        text: Dotted path of the stage that reads the text.
        fusion: Dotted path of the fusion encoder; "" where it ends in the head.
        head: Dotted path of the match head.
        parts: Their blocks.
        streams: What stands in a stream of both, in order: "text", "image" or "query", or "" for a token of
            the stream's own; empty where there is none.
        bridges: Name of a port to what takes over the encoders' tokens layer by layer, without wildcards.
    """

    image: str
    text: str
    fusion: str
    head: str
    parts: tuple[Part, ...]
    streams: tuple[str, ...] = ()
    bridges: Mapping[str, str] | None = None


_BRANCHES = ({"attn": DENSE}, {"mlp": "output.dense"})
VISION = ({"attn": "self_attn.projection"}, {"mlp": "mlp.fc2"})


def _crossing(stem: str, own: str, other: str, length: str | None) -> Part:
    """One of BridgeTower's two streams, which takes over from the other."""
    attentions = {
        f"{own}_attn": DENSE,
        f"{other}_to_{'text' if own == 'text' else 'image'}": _CROSS,
    }
    mlps = {f"{own}_mlp": "output.dense"}
    return Part(
        FUSION, stem, "text_config", attentions, mlps, f"{own}_stream", False, length, False
    )


LAYOUTS: Mapping[str, Layout] = {
    "BlipForImageTextRetrieval": Layout(
        "vision_model",
        "text_encoder.embeddings",
        "text_encoder.encoder",
        "itm_head",
        (
            Part(IMAGE, "vision_model.encoder.layers", "vision_config", *VISION),
            Part(
                FUSION,
                "text_encoder.encoder.layer",
                "text_config",
                {"text_attn": DENSE, "image_to_text": _CROSS},
                {"text_mlp": "output.dense"},
                "text_stream",
                cut=False,
                length=TEXT,
            ),
        ),
    ),
    "Blip2ForImageTextRetrieval": Layout(
        "vision_model",
        "embeddings",
        "qformer",
        "itm_head",
        (
            Part(IMAGE, "vision_model.encoder.layers", "vision_config", *VISION),
            Part(
                FUSION,
                "qformer.encoder.layer",
                "qformer_config",
                {"attn": DENSE, "image_to_query": _CROSS},
                {"query_mlp": "output_query.dense", "text_mlp": "output.dense"},
                cut=False,
                length=STREAM,
            ),
        ),
        streams=("query", "text"),
    ),
    "BridgeTowerForImageAndTextRetrieval": Layout(
        "bridgetower.vision_model.visual.embeddings",
        "bridgetower.text_model.embeddings",
        "",
        "itm_score",
        (
            _crossing("bridgetower.cross_modal_text_layers", "text", "image", TEXT),
            _crossing("bridgetower.cross_modal_image_layers", "vision", "text", None),
        ),
        bridges={"text_bridge": "text", "vision_bridge": "image"},
    ),
    "FlavaForPreTraining": Layout(
        "flava.image_model",
        "flava.text_model",
        "flava.multimodal_model",
        "itm_head",
        (
            Part(IMAGE, "flava.image_model.encoder.layer", "image_config", *_BRANCHES, chain=False),
            Part(
                "text_encoder",
                "flava.text_model.encoder.layer",
                "text_config",
                *_BRANCHES,
                length=TEXT,
                chain=False,
            ),
            Part(
                FUSION,
                "flava.multimodal_model.encoder.layer",
                "multimodal_config",
                *_BRANCHES,
                length=STREAM,
            ),
        ),
        streams=("", "image", "text"),
    ),
    "ViltForImageAndTextRetrieval": Layout(
        "vilt.embeddings.patch_embeddings",
        "vilt.embeddings.text_embeddings",
        "vilt.encoder",
        "rank_output",
        (Part(FUSION, "vilt.encoder.layer", "", *_BRANCHES, length=STREAM),),
        streams=("text", "image"),
    ),
}
"""Class to its layout."""


def drawn(net: Any, layout: Layout) -> tuple[tuple[Stage, ...], tuple[Port, ...]]:
    """The stages and ports of a network.

    Args:
        net: Of transformers; may be an outline.
        layout: Of its class.
    """
    roots = (_root(net, layout, "image", layout.image), _root(net, layout, "text", layout.text))
    parents = tuple(stage.name for stage in roots)
    chains = {part.stage: part for part in layout.parts if part.chain}
    ends: tuple[Stage, ...]
    if layout.fusion:
        blocks = _paths(net, chains[FUSION])
        ends = (
            Stage(FUSION, layout.fusion, parents, blocks),
            Stage(MATCH, layout.head, (FUSION,)),
        )
    else:
        ends = (Stage(FUSION, layout.head, parents),)
    ports = [port for part in layout.parts for port in ports_of(net, part)]
    return (*roots, *ends), (*ports, *_bridges(net, layout))


def _root(net: nn.Module, layout: Layout, channel: str, path: str) -> Stage:
    """The stage that reads a channel: an encoder where it has blocks, else an embedding."""
    name = f"{channel}_encoder"
    part = next((part for part in layout.parts if part.stage == name), None)
    if part is None and not path.endswith("vision_model"):
        return Stage(f"{channel}_embedding", path)
    return Stage(name, path, blocks=_paths(net, part) if part and part.chain else ())


def _paths(net: Any, part: Part) -> tuple[str, ...]:
    return tuple(f"{part.blocks}.{i}" for i in range(len(net.get_submodule(part.blocks))))


def ports_of(net: Any, part: Part) -> Iterator[Port]:
    """Stream, branches, heads and neurons of a part's blocks."""
    blocks = net.get_submodule(part.blocks)
    config = getattr(net.config, part.config) if part.config else net.config
    heads, block = int(config.num_attention_heads), f"{part.blocks}.{{layer}}"
    yield _port(part, part.stream, block, "out", blocks, cut=part.cut)
    for name, path in part.attentions.items():
        there = [i for i, one in enumerate(blocks) if _has(one, path)]
        head = f"{name.removesuffix('attn')}head" if name.endswith("attn") else f"{name}_head"
        yield _port(part, name, f"{block}.{path}", "out", there, count=len(blocks))
        yield _port(part, head, f"{block}.{path}", "in", there, count=len(blocks), units=heads)
    for name, path in part.mlps.items():
        there = [i for i, one in enumerate(blocks) if _has(one, path)]
        width = int(blocks[0].get_submodule(path).in_features)
        neuron = f"{name.removesuffix('mlp')}neuron"
        yield _port(part, name, f"{block}.{path}", "out", there, count=len(blocks))
        yield _port(part, neuron, f"{block}.{path}", "in", there, count=len(blocks), units=width)


def _port(
    part: Part,
    name: str,
    path: str,
    slot: Any,
    layers: Any,
    *,
    count: int = 0,
    units: int | None = None,
    cut: bool = False,
) -> Port:
    names = () if count in (0, len(layers)) else tuple(map(str, layers))
    spans = part.length == STREAM
    return Port(
        part.stage, name, path, slot, len(layers), units, cut, names, part.length, spans=spans
    )


def _has(block: nn.Module, path: str) -> bool:
    return any(name == path for name, _ in block.named_modules())


def _bridges(net: Any, layout: Layout) -> Iterator[Port]:
    """What BridgeTower's streams take over from the layers of the two encoders, layer by layer."""
    for name, own in (layout.bridges or {}).items():
        stem = f"cross_modal_{own}_link_tower"
        links = len(net.get_submodule(f"bridgetower.{stem}"))
        names = (f"cross_modal_{own}_layernorm", *(f"{stem}.{i}" for i in range(links)))
        length = TEXT if own == "text" else None
        path = "bridgetower.{layer}"
        yield Port(FUSION, name, path, "in", len(names), names=names, length=length, spans=False)
