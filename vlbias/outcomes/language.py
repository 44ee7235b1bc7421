"""Outcomes of language models: how probable candidates are, on a log scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlbias.causal.example import Example
from vlbias.causal.staged_model import Readout
from vlbias.errors import BadModel
from vlbias.outcomes import Measure

__all__ = ["CandidateLogprob", "LogOdds"]


@dataclass(frozen=True)
class LogOdds:
    """Log of the odds of a candidate against the second: log p(anti) - log p(stereo).

    Length-normalised where candidates have several tokens. Of two candidates of one token it is the
    difference of their logits. Effects on the ratio, log and difference scale are made from it when a run
    is analysed.

    Args:
        classes: What the candidates are; each but the second is a target.
    """

    classes: tuple[str, ...]
    name: str = "log-odds"
    needs: frozenset[str] = frozenset({"candidate_score"})
    unit: str = "nat"
    higher: Literal["better", "worse", "neither"] = "neither"

    @property
    def targets(self) -> tuple[str, ...]:
        """All candidates but the second."""
        return tuple(name for k, name in enumerate(self.classes) if k != 1)

    def __call__(self, readout: Readout, examples: Sequence[Example]) -> Measure:
        """Log-odds [B, targets].

        Raises:
            BadModel: if the readout has another number of candidates.
        """
        score = _checked(readout["candidate_score"].numpy(), self.classes)
        others = [k for k in range(len(self.classes)) if k != 1]
        return Measure(self.targets, score[:, others] - score[:, [1]])


@dataclass(frozen=True)
class CandidateLogprob:
    """Log-probability of every candidate, length-normalised.

    Args:
        classes: What the candidates are.
    """

    classes: tuple[str, ...]
    name: str = "candidate-logprob"
    needs: frozenset[str] = frozenset({"candidate_logprob"})
    unit: str = "nat"
    higher: Literal["better", "worse", "neither"] = "neither"

    @property
    def targets(self) -> tuple[str, ...]:
        """All candidates."""
        return self.classes

    def __call__(self, readout: Readout, examples: Sequence[Example]) -> Measure:
        """Log-probabilities [B, candidates].

        Raises:
            BadModel: if the readout has another number of candidates.
        """
        return Measure(self.targets, _checked(readout["candidate_logprob"].numpy(), self.classes))


def _checked(score: NDArray[np.floating], classes: tuple[str, ...]) -> NDArray[np.floating]:
    shape = score.shape
    if shape[1:] != (len(classes),):
        raise BadModel(f"the readout has candidates {shape[1:]}, the data set {list(classes)}")
    return score
