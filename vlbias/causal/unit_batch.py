"""Mediators that replace units at one point and nothing else, such as all heads or neurons of a layer.

They are examined and written together. One comparison of two rows tells which of thousands of
replacements change anything, and one write makes the replacements of a whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlbias.causal.patching import PatchTarget, Tokens, unit_mask
from vlbias.causal.tape import Tape

__all__ = ["UnitBatch", "unit_batches"]


@dataclass(frozen=True)
class UnitBatch:
    """Mediators of one site each that differ in their units only.

    Args:
        names: Of the mediators.
        targets: The site of each.
    """

    names: tuple[str, ...]
    targets: tuple[PatchTarget, ...]

    def active(
        self, tape: Tape, own: Tensor, donor: Tensor, among: Tensor, tokens: Tokens
    ) -> Tensor:
        """Which replacements change anything, [mediators, pairs].

        Args:
            tape: The recording.
            own: Row of each pair, [P].
            donor: The row it takes the value from, [P].
            among: Numbers of the pairs to look at; the others are not active.
            tokens: Of the rows of these.
        """
        active = torch.zeros((len(self.names), len(own)), dtype=torch.bool, device=own.device)
        if len(among):
            first = self.targets[0]
            mine, other = (tape.rows_at(first.point, side[among]) for side in (own, donor))
            differ = first.differing(mine, other, tokens, len(among))
            units = self.units(differ.shape[1], own.device)
            active[:, among] = units.float() @ differ.float().T > 0
        return active

    def units(self, count: int, device: torch.device) -> Tensor:
        """Which of a site's units each mediator replaces, [mediators, units]."""
        return unit_mask([target.site for target in self.targets], count, device)

    def value(
        self, tape: Tape, own: Tensor, donor: Tensor, units: Tensor, tokens: Tokens
    ) -> Tensor:
        """The tensor at the point for some jobs, replacement included.

        Args:
            tape: The recording.
            own: Row of each job.
            donor: The row it takes the value from.
            units: Which units each job replaces, [jobs, units].
            tokens: Of the jobs' rows.
        """
        first = self.targets[0]
        mine, other = (tape.rows_at(first.point, side) for side in (own, donor))
        return first.write(mine, other, tokens, units)


def unit_batches(
    targets: Mapping[str, Sequence[PatchTarget]], names: Sequence[str]
) -> tuple[list[UnitBatch], list[str]]:
    """The unit batches among mediators that enter at one point, and the names that are in none.

    Args:
        targets: Name to the targets of every mediator.
        names: Those that enter at the point.
    """
    alike: dict[tuple[int | str, ...] | None, list[str]] = {}
    others = []
    for name in names:
        first, *more = targets[name]
        if more or first.port is None:
            others.append(name)
        else:
            alike.setdefault(first.site.positions, []).append(name)
    batches = [
        UnitBatch(tuple(members), tuple(targets[name][0] for name in members))
        for members in alike.values()
    ]
    return batches, others
