"""GLIP as one tower of four stages.

Image and text meet in the fusion encoder, so that a row of the tower is an image with a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.cosine_join import opened
from vlbias.causal.staged_model import Batch, Tower
from vlbias.errors import BadData
from vlbias.models.glip.detections import chosen, inside, left_over
from vlbias.models.glip.layout import stages_and_ports
from vlbias.models.glip.network import GlipNet
from vlbias.models.glip.photos import pixels_of
from vlbias.models.grounded import GroundedModel
from vlbias.models.phrases import PhraseReader

__all__ = ["Glip"]

_SEPARATORS = (101, 102, 1012, 1029)
"""Ids of [CLS], [SEP], "." and "?" in the vocabulary of uncased BERT, which every GLIP reads."""


class Glip(GroundedModel[PhraseReader]):
    """A GLIP as a staged model.

    Args:
        net: The network.
        tokenizer: That of uncased BERT, padding on the right; None for an outline.
        name: Short name for tables.
        revision: Identity of the weights; a hash.

    Raises:
        BadModel: if the tokenizer is another.
    """

    def __init__(self, net: GlipNet, tokenizer: Any, *, name: str, revision: str) -> None:
        config = self._config = net.config
        limit = min(config.max_text_len, config.text_config.max_position_embeddings)
        reader = None
        if tokenizer is not None:
            reader = PhraseReader(name, tokenizer, limit, _SEPARATORS, closed=False)
        super().__init__(net, reader, name=name, revision=revision)
        stages, self.ports = stages_and_ports(net, config)
        aligned = ("roles", "size", "scaled")
        self.towers = (Tower("model", ("image", "text"), stages, aligned=aligned),)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels, the photos' `size` before and after scaling, and what `PhraseReader.read` gives.

        Raises:
            BadData: if an image cannot be read, or the images have several sizes once processed.
            BadModel: if a text has too many tokens or unknown class names.
        """
        images = opened([image for image, _ in rows])
        pixels, scaled = zip(*(pixels_of(image, self._config) for image in images), strict=True)
        if len({one.shape for one in pixels}) > 1:
            sizes = sorted({image.size for image in images})
            raise BadData(
                f"{self.name}: photos of the sizes {sizes} in one batch would be padded, and padding "
                "moves scores; batch them with vlbias.causal.photo_sizes.PhotoSizes"
            )
        batch = self.reader.read([piece for _, piece in rows])
        batch["size"] = torch.tensor([image.size for image in images])
        batch["scaled"] = torch.tensor(scaled)
        first = next(self.net.parameters())
        batch["pixel_values"] = torch.stack(pixels).to(first.dtype)
        return {key: value.to(first.device) for key, value in batch.items()}

    def encode(self, tower: str, batch: Batch) -> dict[str, Tensor]:
        """Boxes in pixels [R, Q, 4] and logits of classes [R, Q, K]; Q is K more than detections at most.

        A box that is no detection of a class, by the published thresholds and suppression, has the logit
        `NEVER` of it; the best box of every class keeps its own, so that presence is continuous.
        """
        read = ("pixel_values", "input_ids", "attention_mask", "roles")
        found = self.net(**{key: batch[key] for key in read}, classes=int(batch["classes"][0]))
        found = {**found, "boxes": inside(found["boxes"], batch["scaled"])}
        high, wide = batch["pixel_values"].shape[2:]
        levels = [-(-high // stride) * -(-wide // stride) for stride in self._config.strides]
        kept = left_over(found, levels, self._config)
        count = self._config.detections + kept.shape[2]
        boxes, logits = chosen(found["boxes"], found["logits"], kept, count)
        share = (batch["size"] / batch["scaled"]).repeat(1, 2)[:, None]
        return {"boxes": boxes * share.to(boxes.dtype), "logits": logits}
