"""A dual encoder of one's own: any network with a module for images and one for texts that meet in a cosine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.cosine_join import cosine_readout, opened, split_dual
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Batch, Port, Readout, Stage, Tower
from vlbias.errors import BadModel

__all__ = ["DualEncoder"]


class DualEncoder:
    """A network of one's own as a staged model, from the names of its two encoders.

    Each encoder is called with what its function gives for the rows, and gives one vector a row, [R, D], with
    the same D for both. Parts inside them can be named as ports; without, whole encoders are the mediators.

    Args:
        net: The network.
        image: Dotted path of its image encoder.
        text: Dotted path of its text encoder.
        pixels: From RGB images to a tensor [R, ...].
        tokens: From texts to a tensor [R, ...], padded so that a row does not depend on its neighbours.
        scale: Factor of the cosine.
        bias: Added to the product.
        ports: Parts inside the encoders that mediators can name.
        name: Short name for tables.
        revision: Identity of the weights.

    Raises:
        BadModel: if the network has no such module, or both are the same.
    """

    gives = frozenset({"class_logits", "score"})

    def __init__(
        self,
        net: nn.Module,
        *,
        image: str,
        text: str,
        pixels: Callable[[list[Any]], Tensor],
        tokens: Callable[[list[str]], Tensor],
        scale: float = 1.0,
        bias: float = 0.0,
        ports: Sequence[Port] = (),
        name: str = "own",
        revision: str = "in memory",
    ) -> None:
        modules = dict(net.named_modules())
        for path in (image, text):
            if path not in modules:
                raise BadModel(f"{name}: no module {path!r}; there are {', '.join(modules)[1:200]}")
        if image == text:
            raise BadModel(
                f"{name}: image and text are one module, {image!r}; a dual encoder has two"
            )
        self.net, self.name, self.revision = net.eval(), name, revision
        self.ports = tuple(ports)
        self.towers = (
            Tower("image_encoder", ("image",), (Stage("image_encoder", image),)),
            Tower("text_encoder", ("text",), (Stage("text_encoder", text),)),
        )
        self._encoders = {"image_encoder": modules[image], "text_encoder": modules[text]}
        self._pixels, self._tokens = pixels, tokens
        self._scale, self._bias = scale, bias

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One image row; one text row for a caption, or one for each class prompt."""
        return split_dual(inputs)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """What the encoder is called with, rows first, on the network's device.

        Raises:
            BadData: if an image cannot be read.
        """
        image = tower == "image_encoder"
        made = self._pixels(opened(rows)) if image else self._tokens(list(rows))
        device = next((p.device for p in self.net.parameters()), torch.device("cpu"))
        return {"rows": made.to(device)}

    def encode(self, tower: str, batch: Batch) -> Tensor:
        """Embeddings [R, D]."""
        embedding: Tensor = self._encoders[tower](batch["rows"])
        return embedding

    def join(self, values: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> Readout:
        """Scaled cosines: class_logits [B, n], and score [B] where there is one text an example."""
        return cosine_readout(values, index, scale=self._scale, bias=self._bias)
