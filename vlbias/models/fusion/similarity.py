"""The contrastive head of fusion models that have one: image and text read apart, compared by a cosine.

Beside the match head this is a second outcome of the same weights. Text and image do not see each other, so
that it is a pass of another shape, and a model with two towers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vlbias.causal.cosine_join import split_dual
from vlbias.causal.example import Inputs
from vlbias.causal.gradients import without_gradients
from vlbias.causal.staged_model import Batch, Readout, Stage, Tower
from vlbias.errors import BadModel
from vlbias.models.fusion.layouts import DENSE, TEXT, VISION, Part, ports_of

if TYPE_CHECKING:
    from vlbias.models.fusion.adapter import FusionEncoder

__all__ = ["FusionSimilarity"]

IMAGE, WORDS = "image_encoder", "text_encoder"
_LAST = {"mlp": "output.dense"}


@dataclass(frozen=True, slots=True)
class _Heads:
    """Stages of both towers as name and path, each read by the next, and the blocks inside."""

    image: Mapping[str, str]
    text: Mapping[str, str]
    parts: tuple[Part, ...]


_HEADS = {
    "BlipForImageTextRetrieval": _Heads(
        {IMAGE: "vision_model"},
        {WORDS: "text_encoder"},
        (
            Part(IMAGE, "vision_model.encoder.layers", "vision_config", *VISION),
            Part(
                WORDS,
                "text_encoder.encoder.layer",
                "text_config",
                {"attn": DENSE},
                _LAST,
                length=TEXT,
            ),
        ),
    ),
    "Blip2ForImageTextRetrieval": _Heads(
        {IMAGE: "vision_model", "image_queries": "qformer"},
        {"text_embedding": "embeddings", WORDS: "qformer"},
        (
            Part(IMAGE, "vision_model.encoder.layers", "vision_config", *VISION),
            Part(
                "image_queries",
                "qformer.encoder.layer",
                "qformer_config",
                {"attn": DENSE, "image_to_query": "crossattention.output.dense"},
                {"mlp": "output_query.dense"},
                cut=False,
            ),
            Part(
                WORDS,
                "qformer.encoder.layer",
                "qformer_config",
                {"attn": DENSE},
                _LAST,
                length=TEXT,
            ),
        ),
    ),
    "FlavaForPreTraining": _Heads(
        {IMAGE: "flava.image_model"},
        {WORDS: "flava.text_model"},
        (
            Part(IMAGE, "flava.image_model.encoder.layer", "image_config", {"attn": DENSE}, _LAST),
            Part(
                WORDS,
                "flava.text_model.encoder.layer",
                "text_config",
                {"attn": DENSE},
                _LAST,
                length=TEXT,
            ),
        ),
    ),
}


class FusionSimilarity:
    """A fusion model by its contrastive head, as a staged model of two towers.

    Args:
        matching: The same network by its match head.

    Raises:
        BadModel: if it has no contrastive head.
    """

    gives = frozenset({"class_logits", "score"})

    def __init__(self, matching: FusionEncoder) -> None:
        self._matching = matching
        self.net: nn.Module = matching.net
        self.name, self.revision = f"{matching.name}-similarity", matching.revision
        kind = type(self.net).__name__
        if kind not in _HEADS:
            raise BadModel(
                f"{matching.name}: {kind} has no contrastive head; {', '.join(sorted(_HEADS))} have one"
            )
        heads = _HEADS[kind]
        self.towers = (
            Tower(IMAGE, ("image",), _chain(heads.image)),
            Tower(WORDS, ("text",), _chain(heads.text), aligned=(TEXT,), length=TEXT),
        )
        self.ports = tuple(port for part in heads.parts for port in ports_of(self.net, part))

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One image row; one text row for a caption, or one for each class prompt."""
        return split_dual(inputs)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels, or token ids with their mask and each text's length; errors as of `FusionEncoder`."""
        made = self._matching.pixels(rows) if tower == IMAGE else self._matching.words(list(rows))
        return self._matching.placed(made)

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Projected, not yet normalised embeddings: [R, Q, D] of an image's queries, [R, 1, D] of a text."""
        given = {key: value for key, value in batch.items() if key != TEXT}
        net, kind = self.net, type(self.net).__name__
        return _ENCODERS[kind, tower](net, given)

    def join(self, values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Readout:
        """Scaled cosines, of queries the largest: class_logits [B, n], and score [B] of one text an example."""
        flava: Any = getattr(self.net, "flava", None)
        scale = 1.0 if flava is None else float(flava.logit_scale.detach().exp())
        logits = _cosines(values, index) * scale
        readout = {"class_logits": logits}
        return {**readout, "score": logits[:, 0]} if logits.shape[1] == 1 else readout


@without_gradients
def _cosines(values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Tensor:
    """In float64 and text by text, so that a readout does not depend on its neighbours in the batch."""
    images = _unit(values[IMAGE], index[IMAGE][:, 0])
    found = images.new_empty(index[WORDS].shape)
    for column, rows in enumerate(index[WORDS].unbind(1)):
        texts = _unit(values[WORDS], rows)
        found[:, column] = (images * texts).sum(-1).amax(1)
    return found


def _unit(table: Tensor, rows: Tensor) -> Tensor:
    picked = table.index_select(0, rows.to(table.device)).double()
    return nn.functional.normalize(picked, dim=-1).cpu()


def _chain(stages: Mapping[str, str]) -> tuple[Stage, ...]:
    names = list(stages)
    return tuple(
        Stage(name, path, tuple(names[max(0, i - 1) : i]))
        for i, (name, path) in enumerate(stages.items())
    )


def _blip_image(net: Any, given: Batch) -> Tensor:
    embedding: Tensor = net.vision_proj(net.vision_model(**given).last_hidden_state[:, :1])
    return embedding


def _blip_text(net: Any, given: Batch) -> Tensor:
    embedding: Tensor = net.text_proj(net.text_encoder(**given).last_hidden_state[:, :1])
    return embedding


def _blip2_image(net: Any, given: Batch) -> Tensor:
    seen = net.vision_model(**given)[0]
    queries = net.query_tokens.expand(len(seen), -1, -1)
    mask = torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device)
    read = net.qformer(
        query_embeds=queries, encoder_hidden_states=seen, encoder_attention_mask=mask
    )
    last = read.last_hidden_state.to(net.vision_projection.weight.dtype)
    embedding: Tensor = net.vision_projection(last)
    return embedding


def _blip2_text(net: Any, given: Batch) -> Tensor:
    words = net.embeddings(input_ids=given["input_ids"])
    mask = given["attention_mask"]
    read = net.qformer(query_embeds=words, query_length=0, attention_mask=mask)
    last = read.last_hidden_state.to(net.text_projection.weight.dtype)
    embedding: Tensor = net.text_projection(last[:, :1])
    return embedding


def _flava_image(net: Any, given: Batch) -> Tensor:
    embedding: Tensor = net.flava.get_image_features(**given).pooler_output[:, :1]
    return embedding


def _flava_text(net: Any, given: Batch) -> Tensor:
    embedding: Tensor = net.flava.get_text_features(**given).pooler_output[:, :1]
    return embedding


_ENCODERS = {
    ("BlipForImageTextRetrieval", IMAGE): _blip_image,
    ("BlipForImageTextRetrieval", WORDS): _blip_text,
    ("Blip2ForImageTextRetrieval", IMAGE): _blip2_image,
    ("Blip2ForImageTextRetrieval", WORDS): _blip2_text,
    ("FlavaForPreTraining", IMAGE): _flava_image,
    ("FlavaForPreTraining", WORDS): _flava_text,
}
