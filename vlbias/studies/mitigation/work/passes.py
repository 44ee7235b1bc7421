"""Forward passes over many photos, each distinct row of a tower encoded once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.example import Example, Inputs, channel_key
from vlbias.causal.staged_model import Encoded, Readout, StagedModel, Tower
from vlbias.causal.tower_rows import Rows

__all__ = ["Known", "encoded", "nulls", "readouts", "rows_of"]

Known = Mapping[str, Mapping[Hashable, Tensor]]
"""Tower to rows that were encoded before, by their `channel_key`; each [1, D]."""


def nulls(examples: Sequence[Example]) -> list[Inputs]:
    """The null world of the examples."""
    return [example.worlds["null"] for example in examples]


def rows_of(
    model: StagedModel, tower: Tower, inputs: Sequence[Inputs], texts: Sequence[str] = ()
) -> list[Any]:
    """The distinct rows of a tower that inputs and further texts need, in the order they are met."""
    rows = Rows()
    for one in inputs:
        rows.rows_of(model.split(one)[tower.name])
    if tower.channels == ("text",):
        _further(model, tower, rows, inputs, texts)
    return rows.values


def _further(
    model: StagedModel, tower: Tower, rows: Rows, inputs: Sequence[Inputs], texts: Sequence[str]
) -> list[int]:
    """Numbers of the rows of texts that stand for themselves: each is rewritten on its own, if at all."""
    return [rows.rows_of(model.split({**inputs[0], "text": t})[tower.name])[0] for t in texts]


@torch.inference_mode()
def encoded(
    model: StagedModel,
    tower: str,
    values: Sequence[Any],
    batch: int,
    known: Mapping[Hashable, Tensor] = MappingProxyType({}),
) -> Encoded:
    """The tower's output for all rows, batch by batch; what is known is not run again."""
    lacking = [value for value in values if channel_key(value) not in known]
    parts = [
        model.encode(tower, model.collate(tower, lacking[start : start + batch]))
        for start in range(0, len(lacking), batch)
    ]
    if len(lacking) == len(values):
        return tree_map(lambda *leaves: torch.cat(leaves), *parts)
    fresh = iter(torch.cat(parts).split(1)) if parts else iter(())
    keys = [channel_key(value) for value in values]
    return torch.cat([known[key] if key in known else next(fresh) for key in keys])


@torch.inference_mode()
def readouts(
    model: StagedModel,
    inputs: Sequence[Inputs],
    batch: int,
    known: Known = MappingProxyType({}),
    texts: Sequence[str] = (),
) -> Iterator[tuple[range, Readout]]:
    """Positions of the inputs and their readout, batch by batch.

    Texts have a tower of their own in dual encoders and recur: they are encoded once.

    Args:
        model: Mitigated or not.
        inputs: One world of every example.
        batch: How many at a time.
        known: Rows that this model would encode to the same; see `CachedTowers.known`.
        texts: Compared with every photo too, behind its class prompts; dual encoders only.

    Raises:
        BadData: if a mitigation cannot rewrite one of the texts.
    """
    nothing: Mapping[Hashable, Tensor] = {}
    once: dict[str, tuple[Rows, Encoded]] = {}
    behind: dict[str, list[int]] = {}
    for tower in model.towers:
        if tower.channels == ("text",):
            rows = Rows()
            for one in inputs:
                rows.rows_of(model.split(one)[tower.name])
            behind[tower.name] = _further(model, tower, rows, inputs, texts)
            seen = known.get(tower.name, nothing)
            once[tower.name] = (rows, encoded(model, tower.name, rows.values, batch, seen))
    for start in range(0, len(inputs), batch):
        part = range(start, min(start + batch, len(inputs)))
        splits = [model.split(inputs[i]) for i in part]
        values: dict[str, Encoded] = {}
        index: dict[str, Tensor] = {}
        for tower in model.towers:
            name = tower.name
            rows = once[name][0] if name in once else Rows()
            more = behind.get(name, [])
            index[name] = torch.tensor([rows.rows_of(split[name]) + more for split in splits])
            seen = known.get(name, nothing)
            values[name] = (
                once[name][1] if name in once else encoded(model, name, rows.values, batch, seen)
            )
        yield part, model.join(values, index)
