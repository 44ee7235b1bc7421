"""The rows of each tower that the two worlds of every contrast use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example, channel_key
from vlbias.causal.staged_model import StagedModel
from vlbias.causal.tower_rows import Rows

__all__ = ["ContrastRows", "collect_rows", "is_shared"]


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
) -> dict[Contrast, ContrastRows]:
    """The rows of each contrast; those of contrasts without any example are left out.

    Args:
        model: Splits inputs into rows of its towers.
        contrasts: Pairs of worlds.
        examples: An example that lacks one of the worlds is left out of that contrast.
        rows: Name of a tower to its distinct rows; new rows and pairs of rows are added.
        unmediated: Contrasts that need no pairs.
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
            table.pair(tables[0][name], tables[1][name])
        if numbers:
            wanted[contrast] = ContrastRows(tuple(numbers), *tables)
    return wanted


def is_shared(model: StagedModel, tower: str, examples: Sequence[Example], rows: Rows) -> bool:
    """Whether a tower's distinct rows are fewer than half of what the examples ask for one by one."""
    asked = 0
    for example in examples:
        splits = [model.split(world)[tower] for world in example.worlds.values()]
        asked += len({channel_key(value) for split in splits for value in split})
    return bool(rows.values) and len(rows.values) * 2 < asked
