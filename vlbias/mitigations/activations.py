"""What examples have at places of a model: tokens, their means, and nothing run behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.example import Example, channel_key
from vlbias.causal.hooks import first_tensor
from vlbias.causal.staged import Batch, StagedModel
from vlbias.causal.trace import Point
from vlbias.mitigations.sites import Place, changing, lines

__all__ = [
    "Values",
    "features",
    "features_at",
    "first_values",
    "pooled",
    "value_at",
    "values_at",
]


@dataclass(frozen=True)
class Values:
    """What examples have at a place.

    Args:
        tensor: [R, T, D], or [R, D] of an embedding; only the channels of the site.
        own: Which tokens are the row's own and no padding, [R, T] or [R].
        examples: Number of the example that each row is of.
    """

    tensor: Tensor
    own: Tensor
    examples: tuple[int, ...]

    @property
    def tokens(self) -> tuple[Tensor, list[int]]:
        """All own tokens [N, D], and the example of each."""
        if self.tensor.ndim == 2:
            return self.tensor, list(self.examples)
        number = torch.tensor(self.examples, device=self.own.device)[:, None].expand_as(self.own)
        return self.tensor[self.own], number[self.own].tolist()

    @property
    def means(self) -> Tensor:
        """The mean over each row's own tokens, [R, D]."""
        if self.tensor.ndim == 2:
            return self.tensor
        weight = self.own.to(self.tensor.dtype)
        return (weight[:, None] @ self.tensor)[:, 0] / weight.sum(1, keepdim=True)


def features(
    model: StagedModel, place: Place, examples: Sequence[Example], *, batch_size: int = 16
) -> Iterator[Values]:
    """The values of examples in their world "null" at a place, batch by batch.

    A row that several examples share is run once and given for each of them.
    """
    for (values,) in features_at(model, [place], examples, batch_size=batch_size):
        yield values


def features_at(
    model: StagedModel,
    places: Sequence[Place],
    examples: Sequence[Example],
    *,
    batch_size: int = 16,
) -> Iterator[list[Values]]:
    """As `features`, at several places of one tower, each batch run once for all of them."""
    tower = places[0].tower.name
    rows: dict[Hashable, Any] = {}
    users: dict[Hashable, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        for row in model.split(example.worlds["null"])[tower]:
            rows[channel_key(row)] = row
            users[channel_key(row)].append(number)
    keys = list(rows)
    for start in range(0, len(keys), batch_size):
        mine = keys[start : start + batch_size]
        batch = model.collate(tower, [rows[key] for key in mine])
        again = torch.tensor([i for i, key in enumerate(mine) for _ in users[key]])
        numbers = tuple(number for key in mine for number in users[key])
        whole = values_at(model, places, batch)
        yield [_of(place, batch, whole[place], again, numbers) for place in places]


def _of(
    place: Place, batch: Batch, value: Tensor, again: Tensor, examples: tuple[int, ...]
) -> Values:
    if place.port is not None:
        value = lines(value)
        value = value.reshape(len(value), -1, value.shape[-1])
    channels = place.channels(value.shape[-1])
    if channels is not None:
        value = value.index_select(-1, channels.to(value.device))
    again = again.to(value.device)
    return Values(value[again], _own_tokens(place, batch, value)[again], examples)


def pooled(
    model: StagedModel, place: Place, examples: Sequence[Example], *, batch_size: int = 16
) -> tuple[Tensor, list[int]]:
    """The mean of each row's tokens at a place, [rows, D], and the example of each row."""
    parts = list(features(model, place, examples, batch_size=batch_size))
    return torch.cat([part.means for part in parts]), [n for part in parts for n in part.examples]


@torch.inference_mode()
def value_at(model: StagedModel, place: Place, batch: Batch) -> Tensor:
    """The whole value at a place for a batch, as the next module reads it."""
    return values_at(model, [place], batch)[place]


@torch.inference_mode()
def values_at(model: StagedModel, places: Sequence[Place], batch: Batch) -> dict[Place, Tensor]:
    """The whole values at places of one tower for a batch; nothing behind the last of them is run."""
    tower = places[0].tower.name
    if any(place.port is None for place in places):
        ends = first_tensor(model.encode(tower, batch)).clone()
        inside = [place for place in places if place.port is not None]
        return {place: ends for place in places} | (
            values_at(model, inside, batch) if inside else {}
        )
    points = {place: (place.path, place.port.slot) for place in places if place.port is not None}
    found = first_values(model, tower, set(points.values()), batch)
    return {place: found[point] for place, point in points.items()}


class _Reached(Exception):
    """All values are there, and nothing behind them is asked for."""


@torch.inference_mode()
def first_values(
    model: StagedModel, tower: str, points: Collection[Point], batch: Batch
) -> dict[Point, Tensor]:
    """The first tensor that a batch has at each module's input or output; nothing behind is run."""
    seen: dict[Point, Tensor] = {}

    def keep(point: Point, tensor: Tensor) -> Tensor:
        seen.setdefault(point, tensor.clone())
        if len(seen) == len(points):
            raise _Reached
        return tensor

    with suppress(_Reached), ExitStack() as stack:
        for point in points:
            module = model.net.get_submodule(point[0])
            stack.enter_context(changing(module, point[1], partial(keep, point)))
        model.encode(tower, batch)
    return seen


def _own_tokens(place: Place, batch: Batch, value: Tensor) -> Tensor:
    key = (place.port.length if place.port else None) or place.tower.length
    if place.port is None or value.ndim == 2 or key is None or key not in batch:
        return torch.ones(value.shape[:-1], dtype=torch.bool, device=value.device)
    return torch.arange(value.shape[1], device=value.device) < batch[key][:, None]
