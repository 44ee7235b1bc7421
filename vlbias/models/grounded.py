"""What detectors with deep fusion share: a row is an image with a piece of text, boxes come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from vlbias.causal.detection_readout import detection_readout
from vlbias.causal.example import GroundedText, Inputs
from vlbias.causal.staged_model import Batch, Port, Readout, Tower
from vlbias.errors import BadModel
from vlbias.models.pretrained import refuse_placement

__all__ = ["GroundedModel", "TextReader", "class_counts"]


class TextReader(Protocol):
    """Turns texts into pieces that the model reads one at a time, and pieces into tokens."""

    def pieces(self, text: str | tuple[str, ...] | GroundedText) -> tuple[Any, ...]:
        """One piece, or several where the classes do not fit into one."""
        ...

    def read(self, pieces: Sequence[Any]) -> Batch:
        """Token ids of the pieces, and what the model must know of them."""
        ...


Reader = TypeVar("Reader", bound=TextReader)


class GroundedModel(ABC, Generic[Reader]):
    """A grounded detector as a staged model of one tower, "model".

    Args:
        net: The network.
        reader: How texts become tokens; None for an outline.
        name: Short name for tables.
        revision: Identity of the weights; a hub commit or a hash.
    """

    gives = frozenset({"boxes", "class_prob", "class_logits"})
    towers: tuple[Tower, ...]
    ports: tuple[Port, ...]

    def __init__(self, net: nn.Module, reader: Reader | None, *, name: str, revision: str) -> None:
        refuse_placement(name, net)
        self.net, self.name, self.revision = net.eval(), name, revision
        self._reader = reader

    @property
    def reader(self) -> Reader:
        """How texts become tokens.

        Raises:
            BadModel: if the model is an outline.
        """
        if self._reader is None:
            raise BadModel(f"{self.name} is an outline without weights; load the model to run it")
        return self._reader

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """One row, or several where the classes do not fit into one piece of text."""
        image = inputs["image"]
        return {"model": tuple((image, piece) for piece in self.reader.pieces(inputs["text"]))}

    @abstractmethod
    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """Pixels and tokens of the rows."""

    @abstractmethod
    def encode(self, tower: str, batch: Batch) -> dict[str, Tensor]:
        """Boxes in pixels [R, Q, 4] and logits of classes [R, Q, K]."""

    def join(self, values: Mapping[str, Any], index: Mapping[str, Tensor]) -> Readout:
        """Boxes, probabilities and presence; see `detection_readout`."""
        return detection_readout(values["model"], index["model"])


def class_counts(name: str, classes: Sequence[int]) -> Tensor:
    """How many classes each text asks for, [R].

    Args:
        name: Of the model, for messages.
        classes: The number of each text.

    Raises:
        BadModel: if the numbers differ.
    """
    if len(set(classes)) > 1:
        raise BadModel(
            f"{name}: texts that ask for {sorted(set(classes))} classes cannot be run together; "
            "give every example the same classes"
        )
    return torch.tensor(classes)
