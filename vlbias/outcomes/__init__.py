"""Outcomes by name: readout in, one number per example and target out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from vlbias.registry import Entry, Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vlbias.causal.example import Example
    from vlbias.causal.staged_model import Readout

__all__ = ["OUTCOMES", "Measure", "Outcome"]


@dataclass(frozen=True)
class Measure:
    """Numbers of one outcome.

    Args:
        targets: What the columns are about: class names, or one empty name.
        value: Numbers [B, targets]; a rate is a sum of values over a sum of weights.
        weight: Denominators [B, targets]; None where all are one.
    """

    targets: tuple[str, ...]
    value: NDArray[np.floating]
    weight: NDArray[np.floating] | None = None


class Outcome(Protocol):
    """A number per example and target; `needs` are readout keys, `higher` says what more of it means."""

    @property
    def targets(self) -> tuple[str, ...]:
        """What the columns of its numbers are about, before any number is there."""
        ...

    name: str
    needs: frozenset[str]
    unit: str
    higher: Literal["better", "worse", "neither"]

    def __call__(self, readout: Readout, examples: Sequence[Example]) -> Measure:
        """The numbers of these examples, rows in their order."""
        ...


OUTCOMES: Registry[Callable[[tuple[str, ...]], Outcome]] = Registry(
    "outcome",
    {
        "presence": Entry(
            "vlbias.outcomes.scores:Presence",
            "score per class that it is in the image; false and true positives follow at a threshold",
        ),
        "match": Entry("vlbias.outcomes.scores:Match", "score that image and text belong together"),
        "log-odds": Entry(
            "vlbias.outcomes.language:LogOdds",
            "log odds of candidate continuations; ratio, log and difference effects follow from it",
        ),
        "candidate-logprob": Entry(
            "vlbias.outcomes.language:CandidateLogprob", "log-probability of each candidate"
        ),
    },
)
