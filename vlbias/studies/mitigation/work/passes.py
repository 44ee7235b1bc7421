"""Forward passes over many photos: scores of classes, ranks of captions, answers to queries."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.example import Example, Inputs, channel_key
from vlbias.causal.rows import Rows
from vlbias.causal.staged import Batch, Encoded, Readout, StagedModel, Tower

__all__ = [
    "Asked",
    "Known",
    "Remembering",
    "encoded",
    "is_dual",
    "mid_ranks",
    "nulls",
    "readouts",
    "rows_of",
]


@dataclass(frozen=True)
class Asked:
    """Texts that photos are compared with, beside the class prompts.

    Args:
        captions: One for every photo, in their order; empty where there is no retrieval.
        queries: Group to a text that asks for it; empty where none is asked.
    """

    captions: tuple[str, ...] = ()
    queries: Mapping[str, str] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them in order."""
        return (*self.captions, *(self.queries or {}).values())


def is_dual(model: StagedModel) -> bool:
    """Whether any text can be compared with any photo: one tower for each, and scores per text."""
    channels = sorted(tower.channels for tower in model.towers)
    return channels == [("image",), ("text",)] and "class_logits" in model.gives


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


Known = Mapping[str, Mapping[Hashable, Tensor]]
"""Tower to rows that were encoded before, by their `channel_key`; each [1, D]."""


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


class Remembering:
    """A model whose towers run once for every row, for mitigations that change only what towers give.

    A batch is the numbers of its rows; `encode` looks them up. The network itself never runs twice on
    a row, so that a change inside of it would not be seen: see `reach.acts_on_outputs`.

    Args:
        inner: The model.
        batch: Rows that are encoded together.
    """

    def __init__(self, inner: StagedModel, batch: int) -> None:
        self.inner, self._batch = inner, batch
        self.name, self.revision, self.net = inner.name, inner.revision, inner.net
        self.towers, self.ports, self.gives = inner.towers, inner.ports, inner.gives
        self._rows: dict[str, dict[Hashable, int]] = {tower.name: {} for tower in inner.towers}
        self._encoded: dict[str, list[Tensor]] = {tower.name: [] for tower in inner.towers}

    def known(self, tower: str) -> Mapping[Hashable, Tensor]:
        """Every row that was encoded."""
        table = self._encoded[tower]
        return {key: table[number] for key, number in self._rows[tower].items()}

    def learn(self, inputs: Sequence[Inputs], texts: Sequence[str] = ()) -> None:
        """Encode what these inputs and texts need, in the batches of `readouts`."""
        for tower in self.towers:
            self._add(tower.name, rows_of(self.inner, tower, inputs, texts))

    def _add(self, tower: str, values: Sequence[Any]) -> None:
        lacking = {channel_key(value): value for value in values}
        lacking = {key: value for key, value in lacking.items() if key not in self._rows[tower]}
        if lacking:
            output = encoded(self.inner, tower, list(lacking.values()), self._batch)
            for key, row in zip(lacking, output.split(1), strict=True):
                self._rows[tower][key] = len(self._encoded[tower])
                self._encoded[tower].append(row)

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """See `StagedModel.split`."""
        return self.inner.split(inputs)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """The numbers of the rows."""
        self._add(tower, rows)
        return {"row": torch.tensor([self._rows[tower][channel_key(value)] for value in rows])}

    def encode(self, tower: str, batch: Batch) -> Encoded:
        """What the tower gave for these rows."""
        table = self._encoded[tower]
        return torch.cat([table[number] for number in batch["row"].tolist()])

    def join(self, values: Mapping[str, Encoded], index: Mapping[str, Tensor]) -> Readout:
        """See `StagedModel.join`."""
        return self.inner.join(values, index)


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
        known: Rows that this model would encode to the same; see `remembered`.
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


def mid_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 2] rank of every photo's own caption, and of every caption's own photo; 1 is first.

    Equal scores share a place, so that a model that scores all alike is not called perfect.

    Args:
        scores: [n, n], photos by captions, partners on the diagonal.
    """
    own = np.diagonal(scores)
    ranks = []
    for table, mine in ((scores, own[:, None]), (scores.T, own[:, None])):
        above, equal = (table > mine).sum(axis=1), (table == mine).sum(axis=1)
        ranks.append(1 + above + (equal - 1) / 2)
    return np.stack(ranks, axis=1)
