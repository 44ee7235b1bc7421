"""The rows of each tower that the two worlds of every contrast use."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example, channel_key
from vlbias.causal.staged_model import StagedModel, Tower
from vlbias.causal.tower_rows import Rows

__all__ = ["ContrastRows", "Recurrence", "collect_rows"]


@dataclass(frozen=True)
class ContrastRows:
    """The rows of the two worlds of a contrast.

    Args:
        examples: Numbers of the B examples that have both worlds.
        base: Name of a tower to its rows [B, n] of the base world.
        cf: The same of the other world.
    """

    examples: tuple[int, ...]
    base: Mapping[str, Tensor]
    cf: Mapping[str, Tensor]


def collect_rows(
    model: StagedModel,
    contrasts: Sequence[Contrast],
    examples: Sequence[Example],
    rows: Mapping[str, Rows],
    *,
    unmediated: Collection[Contrast] = (),
    one_way: bool = False,
) -> dict[Contrast, ContrastRows]:
    """The rows of each contrast; those of contrasts without any example are left out.

    Args:
        model: Splits inputs into rows of its towers.
        contrasts: Pairs of worlds.
        examples: An example that lacks one of the worlds is left out of that contrast.
        rows: Name of a tower to its distinct rows; new rows and pairs of rows are added.
        unmediated: Contrasts that need no pairs.
        one_way: Whether rows of the base world alone take values of the other.
    """
    wanted = {}
    for contrast in contrasts:
        numbers = [
            number
            for number, example in enumerate(examples)
            if {contrast.base, contrast.cf} <= set(example.worlds)
        ]
        base, cf = (
            [model.split(examples[number].worlds[world]) for number in numbers]
            for world in (contrast.base, contrast.cf)
        )
        tables = [
            {
                name: torch.tensor([table.rows_of(split[name]) for split in side])
                for name, table in rows.items()
            }
            for side in (base, cf)
        ]
        for name, table in rows.items() if contrast not in unmediated else ():
            table.pair(tables[0][name], tables[1][name], one_way=one_way)
        if numbers:
            wanted[contrast] = ContrastRows(tuple(numbers), *tables)
    return wanted


@dataclass(frozen=True)
class Recurrence:
    """How often the rows of a tower recur between examples.

    Args:
        model: Splits inputs into rows of its towers.
        tower: One of these.
        contrasts: Pairs of worlds; only these worlds count.
        examples: All that will be run.
    """

    model: StagedModel
    tower: Tower
    contrasts: Sequence[Contrast]
    examples: Sequence[Example]

    def batch(self, rows: int, cell: int, most: int) -> int:
        """In batches of how many rows the tower should run once for all examples; 0 if it should not.

        Args:
            rows: Distinct rows of the examples.
            cell: So many examples, in their order, are run at a time.
            most: Rows of a batch.
        """
        if 2 * rows >= sum(self.asked(1)):
            return 0
        if self.tower.channels == ("text",):
            return most
        asked = self.asked(cell)  # photos are large: what recurs in one cell alone is left to it
        return min(most, max(asked)) if 2 * rows <= sum(asked) else 0

    def asked(self, cell: int) -> list[int]:
        """How many distinct rows each cell of so many examples uses."""
        starts = range(0, len(self.examples), cell)
        return [len(set().union(*self._used[start : start + cell])) for start in starts]

    @cached_property
    def _used(self) -> list[set[Hashable]]:
        """The rows that each example uses; splitting a text means tokenising it."""
        return [
            {
                channel_key(row)
                for world in self._worlds(example)
                for row in self.model.split(example.worlds[world])[self.tower.name]
            }
            for example in self.examples
        ]

    def _worlds(self, example: Example) -> set[str]:
        pairs = [{contrast.base, contrast.cf} for contrast in self.contrasts]
        return set().union(*(pair for pair in pairs if pair <= set(example.worlds)))
