"""Where mitigations reach into a model: sites, changed by a lent forward, and what examples have there.

A forward is lent rather than a hook set, because the engine lends recorded outputs the same way: a
module that gives back what it gave under the mitigation is not mitigated a second time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.example import Example, channel_key
from vlbias.causal.lending import first_tensor, with_first_tensor
from vlbias.causal.site import Site
from vlbias.causal.staged import Batch, Encoded, Port, StagedModel, Tower, find_port, resolve
from vlbias.causal.trace import Point
from vlbias.errors import BadStudy
from vlbias.mitigations.mitigated import MitigatedModel

__all__ = [
    "Place",
    "Values",
    "changed",
    "changing",
    "features",
    "features_at",
    "first_values",
    "lines",
    "placed",
    "pooled",
    "value_at",
    "values_at",
]

Write = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """A site with the tower it lies in; without a port it is what the whole tower gives.

    `order` sorts places by depth: stage by stage as the model lists them, layer by layer.
    """

    site: Site
    tower: Tower
    port: Port | None
    order: tuple[int, int]

    @property
    def path(self) -> str:
        """The module under `model.net`; only of a port."""
        assert self.port is not None
        return self.port.path(self.site.layer)

    @property
    def units(self) -> int | None:
        """Into how many units the last axis splits."""
        return None if self.port is None else self.port.units_at(self.site.layer)

    def channels(self, width: int) -> Tensor | None:
        """The channels of the last axis that the site's units are; None for all of them."""
        if self.site.units is None:
            return None
        each = width // (self.units or width)
        first = torch.tensor(self.site.units)[:, None] * each
        return (first + torch.arange(each)).flatten()

    def write(self, edit: Write) -> Write:
        """The change of a whole tensor that `edit` is of the site's own channels, [..., D]."""

        def written(tensor: Tensor) -> Tensor:
            value = lines(tensor) if self.port is not None else tensor
            own = self.channels(value.shape[-1])
            if own is None:
                new = edit(value)
            else:
                own = own.to(value.device)
                new = value.index_copy(-1, own, edit(value.index_select(-1, own)))
            return new.movedim(-1, 1) if value is not tensor else new

        return written


def placed(model: StagedModel, patterns: Sequence[str]) -> list[Place]:
    """The places that patterns name, in order of depth.

    Args:
        model: The model.
        patterns: Sites, with wildcards: "image_encoder/resid.*", "text_encoder/head.3[1]"; a stage
            alone is the embedding its tower gives.

    Raises:
        UnknownName: if the model has no such stage or port, with suggestions.
        BadStudy: if layer or units are out of range, or a site names positions, or a stage that is
            not a tower of its own.
    """
    if not patterns:
        raise BadStudy("sites", patterns, "at least one site, such as 'image_encoder/resid.*'")
    stages = [(tower, stage.name) for tower in model.towers for stage in tower.stages]
    found = []
    for mediator in resolve(model, patterns):
        for site in mediator.sites:
            number = [name for _, name in stages].index(site.stage)
            tower, port = stages[number][0], find_port(model, site)
            if site.positions is not None:
                raise BadStudy("sites", str(site), "a site without positions")
            if port is None and len(tower.stages) > 1:
                ports = sorted(p.name for p in model.ports if p.stage == site.stage)
                expected = f"a port inside {site.stage}: {', '.join(ports)}"
                raise BadStudy("sites", str(site), expected)
            layer = 1 << 30 if port is None else site.layer or 0
            found.append(Place(site, tower, port, (number, layer)))
    return sorted(found, key=lambda place: place.order)


@contextmanager
def changing(module: nn.Module, slot: str, write: Write) -> Iterator[None]:
    """The module reads (slot "in") or gives ("out") `write` of its first tensor while it lasts."""
    forward, borrowed = module.forward, module.__dict__.get("forward")

    def lent(*args: Any, **kwargs: Any) -> Any:
        if slot == "in":
            given = with_first_tensor((args, kwargs), write(first_tensor((args, kwargs))))
            return forward(*given[0], **given[1])
        output = forward(*args, **kwargs)
        return with_first_tensor(output, write(first_tensor(output)))

    module.forward = lent
    try:
        yield
    finally:
        if borrowed is None:
            del module.forward
        else:
            module.forward = borrowed


class _Ending(MitigatedModel):
    """A model whose towers' outputs are changed."""

    def __init__(self, inner: StagedModel, revision: str, ends: Mapping[str, list[Write]]) -> None:
        super().__init__(inner, revision)
        self._ends = ends

    def _ended(self, tower: str, encoded: Encoded) -> Encoded:
        for write in self._ends.get(tower, ()):
            encoded = with_first_tensor(encoded, write(first_tensor(encoded)))
        return encoded

    def encode(self, tower: str, batch: Batch) -> Encoded:
        """What the tower gives, changed."""
        return self._ended(tower, self.inner.encode(tower, batch))

    def continued(self, tower: str, batch: Batch, past: Any, rows: Tensor, start: int) -> Encoded:
        """As `encode`."""
        return self._ended(tower, super().continued(tower, batch, past, rows, start))


@contextmanager
def changed(
    model: StagedModel, revision: str, writes: Sequence[tuple[Place, Write]]
) -> Iterator[StagedModel]:
    """The model with the value at each place written anew.

    Args:
        model: Left as found on exit.
        revision: Of the changed model.
        writes: Place, and new value from old one, both with channels last.
    """
    ends: dict[str, list[Write]] = {}
    narrow = _without_tails(model, [place for place, _ in writes])
    with ExitStack() as stack:
        for place, write in writes:
            if place.port is None:
                ends.setdefault(place.tower.name, []).append(write)
                continue
            module = model.net.get_submodule(place.path)
            stack.enter_context(changing(module, place.port.slot, write))
        mitigated = _Ending(model, revision, ends)
        mitigated.towers = narrow
        yield mitigated


def _without_tails(model: StagedModel, places: Sequence[Place]) -> tuple[Tower, ...]:
    """The towers; where a place lies inside a tail, tokens are read there, so that all must be run."""
    inside = {place.path for place in places if place.port is not None}

    def cut(tower: Tower) -> Tower:
        stages = tuple(
            replace(stage, tail=())
            if stage.tail and any(path.startswith(stage.blocks[-1]) for path in inside)
            else stage
            for stage in tower.stages
        )
        return replace(tower, stages=stages)

    return tuple(map(cut, model.towers))


def lines(tensor: Tensor) -> Tensor:
    """The tensor with channels on the last axis: feature maps [R, C, h, w] become [R, h, w, C]."""
    return tensor.movedim(1, -1) if tensor.ndim == 4 else tensor


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
