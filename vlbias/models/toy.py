"""A linear model with a bilinear fusion, whose effects are known in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Batch, Port, Readout, Stage, Tower

__all__ = ["Toy", "load"]


class _Fusion(nn.Module):
    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        scale = width**-0.5
        self.image = nn.Parameter(torch.randn(classes, width, generator=generator) * scale)
        self.text = nn.Parameter(torch.randn(classes, width, generator=generator) * scale)
        self.both = nn.Parameter(torch.randn(classes, width, generator=generator) * scale)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        return image @ self.image.T + text @ self.text.T + (image * text) @ self.both.T


class _Net(nn.Module):
    def __init__(self, channels: int, width: int, classes: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.image = nn.Linear(channels, width, bias=False)
        self.text = nn.Linear(channels, width, bias=False)
        self.fusion = _Fusion(width, classes, generator)
        with torch.no_grad():
            for layer in (self.image, self.text):
                layer.weight.copy_(torch.randn(width, channels, generator=generator))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        logits: Tensor = self.fusion(self.image(image), self.text(text))
        return logits


class Toy:
    """Three linear stages: h = A·image, k = B·text, logits = U·h + V·k + W·(h∘k).

    Total, direct and indirect effects follow by hand: with base (h, k) and other world (h', k'),
    NIE of the image encoder is U(h'-h) + W((h'-h)∘k), and the interaction of the two encoders is
    W((h'-h)∘(k'-k)).

    Args:
        channels: Length of the image and of the text vector.
        width: Width of h and k.
        classes: Number of logits.
        seed: Of the weights; random weights are for wiring and teach nothing about real models.
    """

    name = "toy"
    gives = frozenset({"class_logits"})

    def __init__(self, channels: int = 8, width: int = 6, classes: int = 12, seed: int = 0) -> None:
        self.channels = channels
        self.net: nn.Module = _Net(channels, width, classes, seed).double().eval()
        self.revision = f"toy-{channels}-{width}-{classes}-{seed}"
        self.towers: tuple[Tower, ...] = (
            Tower(
                "model",
                ("image", "text"),
                (
                    Stage("image_encoder", "image"),
                    Stage("text_encoder", "text"),
                    Stage("fusion_encoder", "fusion", ("image_encoder", "text_encoder")),
                ),
            ),
        )
        self.ports: tuple[Port, ...] = (
            Port("image_encoder", "neuron", "image", units=width),
            Port("text_encoder", "neuron", "text", units=width),
        )

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One row an example: the two vectors, as tuples of floats."""
        return {"model": ((tuple(inputs["image"]), tuple(inputs["text"])),)}

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Vectors [B, channels] of both channels."""
        return {
            "image": torch.tensor([row[0] for row in rows], dtype=torch.float64),
            "text": torch.tensor([row[1] for row in rows], dtype=torch.float64),
        }

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Logits [B, classes]."""
        logits: Tensor = self.net(**batch)
        return logits

    def join(self, values: Mapping[str, Any], index: Mapping[str, Tensor]) -> Readout:
        """The logits of the rows that are asked for."""
        return {"class_logits": values["model"][index["model"][:, 0]]}


def load(
    name: str = "toy",
    *,
    channels: int = 8,
    width: int = 6,
    device: str = "cpu",
    dtype: str = "float64",
    weights: bool = True,
) -> Toy:
    """The toy, by default with its default sizes; always in float64 on the CPU, whatever is asked."""
    return Toy(channels, width)
