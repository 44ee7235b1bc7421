"""A detector on two images and two texts that are tensors already, in four worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SwinConfig,
)

from vlbias.causal.example import Example
from vlbias.models.grounding import GroundedDetector

WORLDS = {"null": (0, 0), "image": (1, 0), "text": (0, 1), "both": (1, 1)}


def published() -> GroundingDinoForObjectDetection:
    """The shape of the published Grounding DINO tiny, with random weights."""
    swin = SwinConfig(
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_indices=[2, 3, 4],
    )
    config = GroundingDinoConfig(backbone_config=swin, text_config=BertConfig())
    return GroundingDinoForObjectDetection(config).eval()


class Held(GroundedDetector):
    """The detector on two images and two texts that are tensors already.

    Args:
        net: The detector.
        pixels: Side of the images.
        tokens: Of each text.
        classes: How many of the last tokens are classes of one word.
    """

    def __init__(
        self,
        net: GroundingDinoForObjectDetection,
        pixels: int,
        tokens: int = 210,
        classes: int = 80,
    ) -> None:
        super().__init__(net, None, None, name="held", revision="held")
        self.images = torch.randn(2, 3, pixels, pixels, dtype=net.dtype)
        self.texts = torch.randint(2000, 3000, (2, tokens))
        self.texts[:, 0], self.texts[:, -1] = 101, 102
        self.texts[:, 12::2] = 1012  # a caption, then names with a full stop each
        self.roles = torch.full((tokens,), -1)
        places = torch.arange(13, tokens - 1, 2)[:classes]
        self.roles[places] = torch.arange(len(places))
        self.classes = len(places)

    def split(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        """One row: the numbers of an image and a text."""
        return {"model": ((inputs["image"], inputs["text"]),)}

    def collate(self, tower: str, rows: Sequence[Any]) -> dict[str, Tensor]:
        """The tensors of these rows."""
        images, texts = zip(*rows, strict=True)
        pixels, ids = self.images[list(images)], self.texts[list(texts)]
        side = pixels.shape[-1]
        return {
            "pixel_values": pixels,
            "pixel_mask": torch.ones(len(rows), side, side, dtype=torch.long),
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": torch.zeros_like(ids),
            "roles": self.roles.expand(len(rows), -1),
            "classes": torch.full((len(rows),), self.classes),
            "length": torch.full((len(rows),), ids.shape[1]),
            "size": torch.full((len(rows), 2), side),
        }


def example() -> Example:
    """The photo in its four worlds."""
    worlds = {name: {"image": image, "text": text} for name, (image, text) in WORLDS.items()}
    return Example("0", "0", worlds)
