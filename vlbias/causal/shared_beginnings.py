"""Rows that begin alike, as questions on one photo do: their beginning runs once if nothing is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.staged_model import Batch, CausalModel, Encoded, StagedModel, Tower

__all__ = ["encode_beginnings"]


@torch.inference_mode()
def encode_beginnings(model: StagedModel, tower: Tower, batch: Batch) -> Encoded:
    """As `StagedModel.encode`, each beginning that several rows share run once; equal up to rounding.

    Args:
        model: A `CausalModel`.
        tower: A tower with `causal` and `begins`.
        batch: Its rows.
    """
    pieces, places = [], []
    for start, rows in _alike(tower, batch):
        part = {key: tensor[rows] for key, tensor in batch.items()}
        first, number = _beginnings(batch[tower.causal or ""][rows, :start])
        if start and len(first) < len(rows):
            causal = cast(CausalModel, model)
            past = causal.past(tower.name, {key: tensor[first] for key, tensor in part.items()})
            pieces.append(causal.continued(tower.name, part, past, number, start))
        else:
            pieces.append(model.encode(tower.name, part))
        places.append(rows)
    order = torch.cat(places).argsort()
    return tree_map(lambda *leaves: torch.cat(leaves)[order], *pieces)


def _alike(tower: Tower, batch: Batch) -> Iterator[tuple[int, Tensor]]:
    """Rows by the first token behind which a pass may begin anywhere."""
    begins = batch[tower.begins or ""]
    place = torch.arange(1, begins.shape[1] + 1, device=begins.device)
    starts = torch.where(begins, 0, place).amax(1)
    for start in starts.unique().tolist():
        yield start, (starts == start).nonzero().flatten()


def _beginnings(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each distinct beginning, and the number of every row's."""
    _, number = ids.unique(dim=0, return_inverse=True)
    count = int(number.max()) + 1
    first = torch.stack([(number == i).nonzero()[0, 0] for i in range(count)])
    return first, number
