"""How far a mediator carries the change of each arm: a deep edit's, and a surface edit's of the same item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vlbias.causal.cloze import Cloze
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.studies.comprehension.items import Item

__all__ = ["mediated"]

_ARMS = ("deep", "surface")


def mediated(
    model: Any, items: Sequence[Item], mediators: Sequence[Mediator], batch: int
) -> dict[str, Any]:
    """Natural indirect effects on the log-odds of the right answer against all other choices.

    Args:
        model: A language model that gives candidate scores.
        items: With choices.
        mediators: What is exchanged between the original and the first edit of each arm.
        batch: Jobs that run as one batch.

    Returns:
        items and clusters; and for each arm total [items] and indirect [mediators, items], None where the
        original and the edit have different numbers of tokens.
    """
    contrasts = [Contrast("original", arm) for arm in _ARMS]
    examples = [_example(item) for item in items]
    altered = {contrast: frozenset({"text"}) for contrast in contrasts}
    engine = Engine(model, contrasts, mediators, altered=altered, mediator_batch=batch)
    gold = torch.tensor([item.choices.index(item.answer) for item in items])
    odds: dict[tuple[str, str, str], Any] = {}
    # choices may differ in number, and a readout has one width
    for size in sorted({len(item.choices) for item in items}):
        members = [n for n, item in enumerate(items) if len(item.choices) == size]
        for arm in engine.run([examples[n] for n in members]):
            value = _log_odds(arm.readout["candidate_score"], gold[members])
            value[arm.misaligned] = torch.nan
            key = (arm.contrast.cf, arm.mediator, arm.arm)
            odds.setdefault(key, np.full(len(items), np.nan))[members] = value.numpy()
    found: dict[str, Any] = {
        "items": [item.id for item in items],
        "clusters": [item.cluster or item.id for item in items],
    }
    for name in _ARMS:
        base = odds[name, "", "00"]
        found[name] = {
            "total": _plain(odds[name, "", "11"] - base),
            "indirect": [_plain(odds[name, m.name, "01"] - base) for m in mediators],
        }
    return found


def _example(item: Item) -> Example:
    texts = {"original": item.original, "deep": item.deep[0], "surface": item.surface[0]}
    worlds = {name: {"text": Cloze(text, item.choices)} for name, text in texts.items()}
    return Example(item.id, item.cluster or item.id, worlds)


def _log_odds(score: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
    """Score of the right choice less the log of the sum over the others, [items]."""
    right = score.gather(1, gold[:, None])[:, 0]
    others = score.scatter(1, gold[:, None], -torch.inf).logsumexp(1)
    return right - others


def _plain(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
