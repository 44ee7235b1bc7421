"""Stages and ports of a generative image-text model, found in the network itself.

One tower: image encoder, projectors, text embedding and language model. Transformers says where the image
encoder, the decoder and the embeddings are; what lies between them in the network is a stage of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from vlbias.causal.staged_model import Port, Stage
from vlbias.errors import BadModel
from vlbias.models.image_text.blocks import block_list, tower_ports
from vlbias.models.image_text.families import Family

__all__ = ["IMAGE", "LENGTH", "LM", "Drawing", "drawn"]

IMAGE, EMBEDDING, LM = "image_encoder", "text_embedding", "lm"
LENGTH = "length"
_OTHER = ("audio", "video", "lm_head", "vq", "generation", "decoder")
"""Parts beside the way of an image: other senses, and what makes images."""


@dataclass(frozen=True)
class Drawing:
    """Where a network keeps its parts.

    Args:
        base: Dotted path of what is called; "" for the whole network.
        image: Of the image encoder.
        lm: Of the language model without its head; of an encoder-decoder, the decoder.
        embedding: Of the embedding of words.
        head: Of the map to the vocabulary.
        start: Token that begins an answer in a decoder of its own; None where answers follow the text.
        stages: In topological order.
        ports: Of all of them.
    """

    base: str
    image: str
    lm: str
    embedding: str
    head: str
    start: int | None
    stages: tuple[Stage, ...] = ()
    ports: tuple[Port, ...] = ()

    @property
    def lm_encoder(self) -> str | None:
        """Dotted path of the encoder before a decoder, if there is one."""
        return None if self.start is None else f"{self.lm.rpartition('.')[0]}.encoder"


def drawn(net: Any, family: Family, name: str) -> Drawing:
    """The drawing of a network.

    Args:
        net: Of transformers; may be an outline.
        family: What cannot be found from it.
        name: For messages.

    Raises:
        BadModel: if it has no image encoder.
    """
    image = net.get_submodule(family.image) if family.image else _image_encoder(net, name)
    lm = net.get_submodule(family.lm) if family.lm else _innermost_decoder(net)
    text = net.config.get_text_config()
    parted = bool(getattr(text, "is_encoder_decoder", False))
    paths = {module: path for path, module in net.named_modules()}
    found = Drawing(
        base=family.base if family.base is not None else "model" if hasattr(net, "model") else "",
        image=paths[image],
        lm=paths[lm],
        embedding=paths[net.get_input_embeddings()],
        head=paths[net.get_output_embeddings()],
        start=int(text.decoder_start_token_id) if parted else None,
    )
    return replace(found, stages=_stages(net, family, found), ports=_ports(net, family, found))


def _image_encoder(net: Any, name: str) -> nn.Module:
    encoder: nn.Module = net.get_encoder(modality="image")
    if encoder is net or encoder is net.base_model:
        raise BadModel(
            f"{name}: this network has no image encoder, so that nothing between photo and answer could be "
            "exchanged. Give a model that reads images through an encoder, such as LLaVA or SmolVLM"
        )
    return encoder


def _innermost_decoder(net: Any) -> nn.Module:
    """The decoder without its head, however deep it is wrapped."""
    lm: Any = net.get_decoder()
    while hasattr(lm, "get_decoder") and lm.get_decoder() is not lm:
        lm = lm.get_decoder()
    decoder: nn.Module = lm
    return decoder


def _stages(net: Any, family: Family, found: Drawing) -> tuple[Stage, ...]:
    stages = [_image_stage(net, found)]
    before = IMAGE
    for child, path in _between(net, family, found).items():
        reads = [family.fed[child]] if child in family.fed else []
        stages.append(Stage(child, path, (before, *reads), apart=True))
        before = child
    roots = [EMBEDDING]
    for root, path in family.roots.items():
        fed = root in family.fed.values()
        stages.insert(1, Stage(root, path if "." in path else f"{found.lm}.{path}", apart=fed))
        roots += [] if fed else [root]
    stages.append(Stage(EMBEDDING, found.embedding))
    end, blocks = family.end or found.lm, _blocks(net, family, found)
    if found.lm_encoder is None:
        return (*stages, Stage(LM, end, (before, *roots), blocks))
    encoder = Stage("lm_encoder", found.lm_encoder, (before, *roots))
    return (*stages, encoder, Stage(LM, end, ("lm_encoder",)))


def _image_stage(net: Any, found: Drawing) -> Stage:
    """The image encoder; hooks of transformers collect what its blocks give where an inner one is read."""
    encoder = net.get_submodule(found.image)
    called: tuple[str, ...] = ()
    inner = hasattr(net.config, "vision_feature_layer") or hasattr(encoder.config, "feature_layer")
    place = block_list(encoder)
    if inner and place:
        count = len(encoder.get_submodule(place))
        called = tuple(f"{found.image}.{place}.{i}" for i in range(count))
    return Stage(IMAGE, found.image, called=called, apart=True)


def _between(net: Any, family: Family, found: Drawing) -> dict[str, str]:
    """What stands beside the image encoder on the way to the language model: name to dotted path."""
    stem = found.image.rpartition(".")[0]
    around = net.get_submodule(stem)
    children = {child: f"{stem}.{child}".lstrip(".") for child, _ in around.named_children()}
    if family.between is not None:
        return {child: children[child] for child in family.between}
    return {
        child: path
        for child, path in children.items()
        if path not in (found.image, found.head)
        and not found.lm.startswith(path)
        and not any(word in child for word in _OTHER)
    }


def _blocks(net: Any, family: Family, found: Drawing) -> tuple[str, ...]:
    """Blocks of the language model, each fed by the one before and by nothing else."""
    lm = net.get_submodule(found.lm)
    place = block_list(lm)
    if not place or _is_fed_between(lm, family):
        return ()
    return tuple(f"{found.lm}.{place}.{i}" for i in range(len(lm.get_submodule(place))))


def _is_fed_between(lm: Any, family: Family) -> bool:
    """Whether something else than the block before feeds a block: deep features, cross attention."""
    crossing = bool(getattr(lm.config, "cross_attention_layers", None))
    own_texts = any("." not in path for path in family.roots.values())
    return hasattr(lm, "_deepstack_process") or crossing or own_texts


def _ports(net: Any, family: Family, found: Drawing) -> tuple[Port, ...]:
    image, lm = net.get_submodule(found.image), net.get_submodule(found.lm)
    ports = tower_ports(IMAGE, found.image, image, cut=False, length=None)
    if found.lm_encoder is None:
        cut = not _is_fed_between(lm, family)
        return (*ports, *tower_ports(LM, found.lm, lm, cut=cut, length=LENGTH))
    encoder = net.get_submodule(found.lm_encoder)
    ports += tower_ports("lm_encoder", found.lm_encoder, encoder, cut=True, length=LENGTH)
    # the encoder's text passes the blocks of a decoder by
    return (*ports, *tower_ports(LM, found.lm, lm, cut=False, length=None))
