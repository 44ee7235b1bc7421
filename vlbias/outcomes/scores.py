"""Scores: presence of a class, match of image and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlbias.causal.example import Example
from vlbias.causal.staged_model import Readout
from vlbias.errors import BadModel
from vlbias.outcomes import Measure

__all__ = ["Match", "Presence"]


@dataclass(frozen=True)
class Presence:
    """Score per class, on the model's logit scale, in the order of the class prompts.

    Args:
        classes: Names of the columns of class_logits.
    """

    classes: tuple[str, ...]
    name: str = "presence"
    needs: frozenset[str] = frozenset({"class_logits"})
    unit: str = "logit"
    higher: Literal["better", "worse", "neither"] = "neither"

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    def __call__(self, readout: Readout, examples: Sequence[Example]) -> Measure:
        """Scores [B, classes], rounded to float32 so that the table stays small.

        Raises:
            BadModel: if the readout has another number of classes.
        """
        logits = readout["class_logits"].cpu().numpy()
        if logits.shape[1] != len(self.classes):
            raise BadModel(
                f"the readout has {logits.shape[1]} classes, the study {len(self.classes)}; use a prompt "
                "that gives one text per class"
            )
        return Measure(self.classes, logits.astype(np.float32))


@dataclass(frozen=True)
class Match:
    """Score that image and text belong together, on the model's logit scale; one target, named ""."""

    classes: tuple[str, ...] = ()
    name: str = "match"
    needs: frozenset[str] = frozenset({"score"})
    unit: str = "logit"
    higher: Literal["better", "worse", "neither"] = "neither"

    @property
    def targets(self) -> tuple[str, ...]:
        """One, without a name."""
        return ("",)

    def __call__(self, readout: Readout, examples: Sequence[Example]) -> Measure:
        """Scores [B, 1]."""
        return Measure(("",), readout["score"].cpu().numpy()[:, None].astype(np.float32))
