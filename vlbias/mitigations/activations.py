"""Activations of examples at sites of a model; nothing behind the last site is run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.call_order import Point
from vlbias.causal.example import Example, channel_key
from vlbias.causal.hooks import first_tensor
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.staged_model import Batch, StagedModel
from vlbias.causal.turns import in_turn
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations.sites import SitePoint, channels_last, patched_tensor, span_mask

__all__ = [
    "Activations",
    "activations",
    "activations_at_all",
    "batch_activation",
    "batch_activations",
    "first_tensors",
    "mean_activations",
]


@dataclass(frozen=True)
class Activations:
    """Activations of some examples at one site.

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

    def at(self, token: int) -> Tensor:
        """One of each row's own tokens, [R, D]; counted from the end if the number is negative.

        Raises:
            BadData: if a row has fewer tokens.
        """
        if self.tensor.ndim == 2:
            return self.tensor
        counts = self.own.sum(1)
        if int(counts.min()) <= (token if token >= 0 else -token - 1):
            raise BadData(f"a row has {int(counts.min())} tokens; there is no token {token} in it")
        places = self.own.cumsum(1) * self.own
        number = places.new_full((len(counts),), token + 1) if token >= 0 else counts + token + 1
        chosen = (places == number[:, None]).int().argmax(1)
        return self.tensor[torch.arange(len(counts), device=chosen.device), chosen]


def activations(
    model: StagedModel, point: SitePoint, examples: Sequence[Example], *, batch_size: int = 16
) -> Iterator[Activations]:
    """Activations of examples in their world "null" at a site, batch by batch.

    A row that several examples share is run once and given for each of them.
    """
    for (values,) in activations_at_all(model, [point], examples, batch_size=batch_size):
        yield values


def activations_at_all(
    model: StagedModel,
    points: Sequence[SitePoint],
    examples: Sequence[Example],
    *,
    batch_size: int = 16,
) -> Iterator[list[Activations]]:
    """As `activations`, at several sites of one tower; each batch is run once for all of them."""
    tower = points[0].tower.name
    rows: dict[Hashable, Any] = {}
    users: dict[Hashable, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        for row in model.split(example.worlds["null"])[tower]:
            rows[channel_key(row)] = row
            users[channel_key(row)].append(number)
    keys = list(rows)
    for some in PhotoSizes(model).batches(tower, list(rows.values()), batch_size):
        mine = [keys[number] for number in some]
        batch = model.collate(tower, [rows[key] for key in mine])
        again = torch.tensor([i for i, key in enumerate(mine) for _ in users[key]])
        numbers = tuple(number for key in mine for number in users[key])
        whole = batch_activations(model, points, batch)
        found = [_of(point, batch, whole[point], again, numbers) for point in points]
        for point, values in zip(points, found, strict=True):
            _refuse_not_finite(model, point, values, examples)
        yield found


def _of(
    point: SitePoint, batch: Batch, value: Tensor, again: Tensor, examples: tuple[int, ...]
) -> Activations:
    if point.port is not None:
        value = channels_last(value)
        value = value.reshape(len(value), -1, value.shape[-1])
    channels = point.channels(value.shape[-1])
    if channels is not None:
        value = value.index_select(-1, channels.to(value.device))
    again = again.to(value.device)
    return Activations(value[again], _own_tokens(point, batch, value)[again], examples)


def _refuse_not_finite(
    model: StagedModel, point: SitePoint, values: Activations, examples: Sequence[Example]
) -> None:
    bad = ~values.tensor.isfinite().all(-1) & values.own
    rows = bad.reshape(len(bad), -1).any(1).tolist()
    ids = sorted({examples[values.examples[i]].id for i, is_bad in enumerate(rows) if is_bad})
    if ids:
        raise BadData(
            f"{model.name}: values at {point.site} are not finite (NaN or infinite) for "
            f"{', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}; nothing can be learned from them: look at "
            "the weights and at these photos"
        )


def mean_activations(
    model: StagedModel, point: SitePoint, examples: Sequence[Example], *, batch_size: int = 16
) -> tuple[Tensor, list[int]]:
    """The mean of each row's tokens at a site, [rows, D], and the example of each row."""
    parts = list(activations(model, point, examples, batch_size=batch_size))
    return torch.cat([part.means for part in parts]), [n for part in parts for n in part.examples]


@torch.inference_mode()
def batch_activation(model: StagedModel, point: SitePoint, batch: Batch) -> Tensor:
    """The tensor at a site for a batch, all of its channels, as the next module reads it."""
    return batch_activations(model, [point], batch)[point]


@torch.inference_mode()
def batch_activations(
    model: StagedModel, points: Sequence[SitePoint], batch: Batch
) -> dict[SitePoint, Tensor]:
    """As `batch_activation`, at several sites of one tower."""
    with in_turn(model):
        return _at_all(model, points, batch)


def _at_all(
    model: StagedModel, points: Sequence[SitePoint], batch: Batch
) -> dict[SitePoint, Tensor]:
    tower = points[0].tower.name
    if any(point.port is None for point in points):
        ends = first_tensor(model.encode(tower, batch)).clone()
        inside = [point for point in points if point.port is not None]
        return {point: ends for point in points} | (_at_all(model, inside, batch) if inside else {})
    slots = {point: (point.path, point.port.slot) for point in points if point.port is not None}
    found = first_tensors(model, tower, set(slots.values()), batch)
    return {point: found[slot] for point, slot in slots.items()}


class _Reached(Exception):
    """All tensors are there, and what lies behind them need not run."""


@torch.inference_mode()
def first_tensors(
    model: StagedModel, tower: str, at: Collection[Point], batch: Batch
) -> dict[Point, Tensor]:
    """The first tensor at each module's input or output for a batch."""
    seen: dict[Point, Tensor] = {}

    def keep(slot: Point, tensor: Tensor) -> Tensor:
        seen.setdefault(slot, tensor.clone())
        if len(seen) == len(at):
            raise _Reached
        return tensor

    with suppress(_Reached), ExitStack() as stack:
        for slot in at:
            module = model.net.get_submodule(slot[0])
            stack.enter_context(patched_tensor(module, slot[1], partial(keep, slot)))
        model.encode(tower, batch)
    return seen


def _own_tokens(point: SitePoint, batch: Batch, value: Tensor) -> Tensor:
    own = _unpadded(point, batch, value)
    if point.site.positions is None:
        return own
    own = own & span_mask(point, batch).to(own.device)
    if not bool(own.any(1).all()):
        raise BadStudy("sites", str(point.site), "a span that every text has")
    return own


def _unpadded(point: SitePoint, batch: Batch, value: Tensor) -> Tensor:
    key = (point.port.length if point.port else None) or point.tower.length
    if point.port is None or value.ndim == 2 or key is None or key not in batch:
        return torch.ones(value.shape[:-1], dtype=torch.bool, device=value.device)
    return torch.arange(value.shape[1], device=value.device) < batch[key][:, None]
