"""Scores s(m) of mediators: how far the logit difference moves when a pair's other prompt gives the mediator.

    delta(prompt) = logit of what the other prompt would have it answer - logit of the answer
    s(m)          = delta(prompt with m from the other prompt) - delta(prompt)

The score is the natural indirect effect on the difference of logits; exp(s) - 1 is the one on the ratio of
odds that studies of kind "language" report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.causal.engine import Arm, Engine
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import resolve
from vlbias.studies.symbolic.head_types import SITES
from vlbias.studies.symbolic.prompts import Pair

__all__ = ["PairScores", "head_scores", "mediator_scores", "position_map"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairScores:
    """Scores of both directions of each pair.

    Args:
        gap: delta of the prompts [pairs, 2], one for each direction: the first prompt receives, then the
            second does.
        score: [mediators, pairs, 2].
    """

    gap: Floats
    score: Floats


def mediator_scores(
    model: Any, pairs: Sequence[Pair], mediators: Sequence[Mediator], batch: int
) -> PairScores:
    """Scores of mediators in pairs of one kind.

    Args:
        model: A causal language model that gives candidate scores.
        pairs: Of one kind.
        mediators: What is exchanged.
        batch: Jobs that run as one batch.
    """
    contrast = pairs[0].contrast
    altered = {contrast: frozenset({"text"})}
    engine = Engine(model, [contrast], mediators, altered=altered, mediator_batch=batch)
    sign = _signs(pairs)
    deltas: dict[tuple[str, str], Floats] = {}
    for arm in engine.run([pair.example() for pair in pairs]):
        deltas[arm.mediator, arm.arm] = _delta(arm)
    gap = np.stack([deltas["", "00"], deltas["", "11"]], 1) * sign
    moved = [
        np.stack([deltas[mediator.name, "01"], deltas[mediator.name, "10"]], 1) * sign
        for mediator in mediators
    ]
    return PairScores(gap, np.array(moved) - gap)


def _delta(arm: Arm) -> Floats:
    """Score of the first candidate less that of the second, [pairs]."""
    score = arm.readout["candidate_score"].numpy()
    difference: Floats = score[:, 0] - score[:, 1]
    return difference


def _signs(pairs: Sequence[Pair]) -> Floats:
    """1 where the first candidate is what the other prompt would answer, -1 where it is the answer."""
    return np.array(
        [
            [
                1.0 if pair.candidates[0] == pair.rival_of(world) else -1.0
                for world in (pair.contrast.base, pair.contrast.cf)
            ]
            for pair in pairs
        ]
    )


def head_scores(model: Any, pairs: Sequence[Pair], batch: int) -> tuple[Floats, Mapping[str, Any]]:
    """Scores of every head at every set of tokens.

    Returns:
        The gap [pairs, 2], and name of a set of tokens to scores [layers, heads, pairs, 2].
    """
    found, gap = {}, np.empty(0)
    for name, positions in SITES.items():
        # one engine for each, so that only tokens behind the first replaced one are run
        mediators = resolve(model, [f"lm/head.*[*]@{positions}"])
        scores = mediator_scores(model, pairs, mediators, batch)
        layers = len({mediator.sites[0].layer for mediator in mediators})
        found[name] = scores.score.reshape(layers, -1, *scores.score.shape[1:])
        gap = scores.gap
    return gap, found


def position_map(
    model: Any, pairs: Sequence[Pair], begin: int, batch: int
) -> tuple[Floats, Mapping[str, Floats]]:
    """Scores of the attention and MLP outputs of each layer at each token.

    Args:
        model: A causal language model that gives candidate scores.
        pairs: Of one kind.
        begin: Tokens that stand before the first item.
        batch: Jobs that run as one batch.

    Returns:
        The gap [pairs, 2], and "attn" or "mlp" to scores [layers, tokens, pairs, 2].
    """
    ports = [name for name in ("attn", "mlp") if any(port.name == name for port in model.ports)]
    tokens = next(iter(pairs[0].worlds.values())).format.tokens
    columns: dict[str, list[Floats]] = {name: [] for name in ports}
    gap = np.empty(0)
    for token in range(begin, begin + tokens):
        mediators = resolve(model, [f"lm/{name}.*@{token}" for name in ports])
        scores = mediator_scores(model, pairs, mediators, batch)
        gap = scores.gap
        for name, part in zip(ports, np.split(scores.score, len(ports)), strict=True):
            columns[name].append(part)
    return gap, {name: np.stack(parts, 1) for name, parts in columns.items()}
