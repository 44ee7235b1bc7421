"""Grounding DINO and MM Grounding DINO as one tower of four stages.

Image and text meet in the fusion encoder, so that a row of the tower is an image with a text. The
model's own forward pass runs untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForZeroShotObjectDetection

from vlbias.causal.cosine_join import opened
from vlbias.causal.detection_readout import class_logits, corners
from vlbias.causal.staged_model import Batch, Tower
from vlbias.errors import BadData
from vlbias.models.grounded import GroundedModel
from vlbias.models.grounding.layout import stages_and_ports
from vlbias.models.phrases import PhraseReader
from vlbias.models.pretrained import pretrained

__all__ = ["GroundedDetector", "load"]


class GroundedDetector(GroundedModel[PhraseReader]):
    """A grounded detector as a staged model.

    Args:
        net: A `GroundingDinoForObjectDetection` or `MMGroundingDinoForObjectDetection`.
        image_processor: Turns PIL images into pixels with a mask.
        tokenizer: The text encoder's fast tokenizer, padding on the right; None for an outline.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.

    Raises:
        BadModel: if the text encoder is of a family whose blocks are not known, or the tokenizer is
            not the model's.
    """

    def __init__(
        self, net: nn.Module, image_processor: Any, tokenizer: Any, *, name: str, revision: str
    ) -> None:
        config: Any = net.config
        limit = min(config.max_text_len, config.text_config.max_position_embeddings)
        separators: Any = net.get_submodule("model").special_tokens
        reader = None
        if tokenizer is not None:
            reader = PhraseReader(name, tokenizer, limit, tuple(separators.tolist()))
        super().__init__(net, reader, name=name, revision=revision)
        self._processor = image_processor
        stages, self.ports = stages_and_ports(net, config)
        self.towers = (
            Tower("model", ("image", "text"), stages, aligned=("roles", "pixel_mask", "size")),
        )

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels with their mask and `size`, and what `PhraseReader.read` gives.

        Raises:
            BadData: if an image cannot be read, or the images have several sizes once processed.
            BadModel: if a text has too many tokens or unknown class names.
        """
        images = opened([image for image, _ in rows])
        pixels = self._processor(images=images, return_tensors="pt")
        if not bool(pixels["pixel_mask"].all()):
            sizes = sorted({image.size for image in images})
            raise BadData(
                f"{self.name}: photos of the sizes {sizes} in one batch would be padded, and padding "
                "moves scores; batch them with vlbias.causal.photo_sizes.PhotoSizes"
            )
        batch = self.reader.read([piece for _, piece in rows])
        batch["size"] = torch.tensor([image.size for image in images])
        first = next(self.net.parameters())
        batch["pixel_values"] = pixels["pixel_values"].to(first.dtype)
        batch["pixel_mask"] = pixels["pixel_mask"]
        return {key: value.to(first.device) for key, value in batch.items()}

    def encode(self, tower: str, batch: Batch) -> dict[str, Tensor]:
        """Boxes in pixels [R, Q, 4] and logits of classes [R, Q, K]."""
        own = ("roles", "classes", "length", "size")
        found = self.net(**{key: value for key, value in batch.items() if key not in own})
        return {
            "boxes": corners(found.pred_boxes, batch["size"]),
            "logits": class_logits(found.logits, batch["roles"], int(batch["classes"][0])),
        }


def load(checkpoint: str, *, name: str, **options: Any) -> GroundedDetector:
    """A grounded detector from the hub or from a local folder that `save_pretrained` wrote.

    Args:
        checkpoint: Hub name or folder.
        name: Short name for tables.
        options: `device`, `dtype` and `weights`; see `vlbias.models.pretrained.pretrained`, which
            raises what cannot be loaded.
    """
    got = pretrained(AutoModelForZeroShotObjectDetection, checkpoint, **options)
    return GroundedDetector(
        got.net, got.image_processor, got.tokenizer, name=name, revision=got.revision
    )
