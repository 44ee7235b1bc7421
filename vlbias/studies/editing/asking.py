"""What is asked of a model along a sequence of edits, against what it said before the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vlbias.data.facts import Fact
from vlbias.edits.change import Change
from vlbias.edits.keys import completion, record_maps
from vlbias.edits.weights import OutputMap
from vlbias.studies.knowledge.known import are_answered

__all__ = ["FLOOR", "Before", "harmonic", "share", "shifts"]

FLOOR = 1e-4
"""What a share of 0 counts as in the harmonic mean, as Hu et al. (2024) have it."""


def share(right: Sequence[bool]) -> float:
    """Share of True; NaN of nothing."""
    return float(np.mean(right)) if len(right) else float("nan")


def harmonic(shares: Sequence[float]) -> float:
    """The harmonic mean of shares, none below `FLOOR`; those that are NaN are left out."""
    there = [max(one, FLOOR) for one in shares if not np.isnan(one)]
    return len(there) / sum(1 / one for one in there) if there else float("nan")


@dataclass(frozen=True)
class Before:
    """What the unedited model says: the copy that everything is compared with.

    Args:
        edited: Facts that will be edited, all known.
        probes: Facts that never are, all known.
        neighbours: Of each edited fact, the prompts that are answered.
        utility: Prompts and answers of general use that are answered.
    """

    edited: tuple[Fact, ...]
    probes: tuple[Fact, ...]
    neighbours: tuple[tuple[tuple[str, str], ...], ...]
    utility: tuple[tuple[str, str], ...]

    @classmethod
    def of(
        cls,
        model: Any,
        edited: Sequence[Fact],
        probes: Sequence[Fact],
        utility: Sequence[tuple[str, str]],
    ) -> Before:
        """What an unedited model says of facts that it knows."""
        near = [pair for fact in edited for pair in fact.neighbours]
        right = dict(zip(near, are_answered(model, near), strict=True))
        kept = tuple(tuple(p for p in fact.neighbours if right[p]) for fact in edited)
        useful = zip(utility, are_answered(model, utility), strict=True)
        return cls(tuple(edited), tuple(probes), kept, tuple(p for p, right_ in useful if right_))

    def after_edit(self, model: Any, number: int) -> dict[str, float]:
        """Whether the edit of a number took: its prompt, its paraphrases, its neighbours."""
        fact = self.edited[number]
        prompts = [(text, fact.target) for text in fact.prompts]
        said = are_answered(model, [*prompts, *self.neighbours[number]])
        own = len(prompts)
        return {
            "edit_success": float(said[0]),
            "generalisation": share(said[1:own]),
            "locality": share(said[own:]),
        }

    def at_checkpoint(self, model: Any, done: int, *, keeps_target: bool) -> dict[str, Any]:
        """What is left after so many edits: of edited facts, of others, and of general use."""
        edited = [
            (fact.prompt, fact.target if keeps_target else fact.answer)
            for fact in self.edited[:done]
        ]
        others = are_answered(model, [(fact.prompt, fact.answer) for fact in self.probes])
        return {
            "edited_right": share(are_answered(model, edited)),
            "unedited_right": share(others),
            "utility": share(are_answered(model, self.utility)),
            "probes": others,
        }


@torch.no_grad()
def shifts(
    model: Any, one: OutputMap, change: Change, facts: Sequence[Fact]
) -> tuple[float, float]:
    """Mean relative shift of a map's output at other facts' subjects: predicted, and measured.

    What is predicted is the update applied to the keys of the unedited map. It is exact where the edit touches
    no layer before.

    Args:
        model: Before the edit.
        one: The map that it changes.
        change: The edit.
        facts: Others.
    """
    texts = [completion(fact, fact.answer) for fact in facts]
    before = record_maps(model, [one], texts)[one.path]
    new = change.values[one.name]
    update = (new.T if one.is_turned else new) - one.weight
    size = before.values.norm(dim=1)
    predicted = (before.keys @ update.T).norm(dim=1) / size
    with change.applied(model) as changed:
        after = record_maps(changed, [one], texts)[one.path]
    measured = (after.values - before.values).norm(dim=1) / size
    return float(predicted.mean()), float(measured.mean())
