"""A model whose towers encode every row once, for mitigations that change only what towers give."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.example import Inputs, channel_key
from vlbias.causal.staged_model import Batch, Encoded, Readout, StagedModel
from vlbias.studies.mitigation.work.passes import encoded, rows_of

__all__ = ["CachedTowers"]


class CachedTowers:
    """A model whose towers run once for every row.

    A batch is the numbers of its rows; `encode` looks them up. The network itself never runs twice on
    a row, so that a change inside of it would not be seen: see `scope.acts_on_outputs`.

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

    def add(self, inputs: Sequence[Inputs], texts: Sequence[str] = ()) -> None:
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
