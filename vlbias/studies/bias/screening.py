"""What screening and racing look at: how the score gaps of the photos that set thresholds would move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlbias.analysis.score_gap import score_gap_weights
from vlbias.causal.attribution import Score
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example
from vlbias.causal.staged_model import Readout, StagedModel
from vlbias.outcomes.scores import Presence
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers.racing import raced_weights

__all__ = ["raced_score", "score_gap_of"]

_TOGETHER = 4


class _ScoreGap:
    """The part of each example in the score gap of a base world; its mean over examples is the gap.

    Args:
        examples: In the world.
        weights: [examples, classes] from `score_gap_weights`.
    """

    def __init__(self, examples: Sequence[Example], weights: NDArray[np.float64]) -> None:
        scaled = torch.from_numpy(weights * len(examples))
        self._weights = dict(zip((example.id for example in examples), scaled, strict=True))

    def __call__(self, readout: Readout, examples: Sequence[Example]) -> Tensor:
        logits = readout["class_logits"]
        weights = torch.stack([self._weights[example.id] for example in examples])
        return (logits * weights.to(logits)).sum(1)


def score_gap_of(
    model: StagedModel, examples: Sequence[Example], classes: tuple[str, ...]
) -> Callable[[Contrast], Score]:
    """Of a contrast the score gap in its base world, which is encoded once for all contrasts from it.

    Args:
        model: The loaded model.
        examples: Those that choose.
        classes: Names of the columns of class_logits.
    """

    @cache
    def of_world(world: str) -> Score:
        there = [example for example in examples if world in example.worlds]
        same = Contrast(world, world)
        engine = Engine(model, [same], [], altered={same: frozenset()})
        scores = np.full((len(there), len(classes)), np.nan)
        for start in range(0, len(there), _TOGETHER):
            some = there[start : start + _TOGETHER]
            for arm in engine.run(some, mediated=False):
                if arm.arm == "00":
                    rows = start + np.array(arm.examples)
                    scores[rows] = Presence(classes)(arm.readout, some).value
        present = np.array([[name in one.targets["present"] for name in classes] for one in there])
        group = np.array([one.attributes["group"] for one in there])
        return _ScoreGap(there, score_gap_weights(scores, present, group))

    return lambda pair: of_world(pair.base)


def raced_score(run: Run, contrast: str) -> Score:
    """What attribution differentiates for a race: the sum of an example's scores by its weights."""
    rows, weights, _ = raced_weights(run, contrast)
    names = run.samples["sample_id"].to_numpy()[rows]
    known = dict(zip(names, torch.from_numpy(weights), strict=True))
    none = torch.zeros(len(run.targets), dtype=torch.float64)

    def score(readout: Readout, examples: Sequence[Example]) -> Tensor:
        logits = readout["class_logits"]
        mine = torch.stack([known.get(example.id, none) for example in examples])
        return (logits * mine.to(logits)).sum(1)

    return score
