"""What a replacement would change to first order: approximate, and only good for choosing what to run.

Gradient times difference (attribution patching): of a function f of the readout, the change through a
mediator is about the sum over its sites of (z_other - z_base) · df/dz, all from one forward and one
backward pass. It is wrong where f bends between the two values, so it is no effect: `Engine` gives those.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.call_order import Point
from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example, channel_key
from vlbias.causal.gradients import followed_gradients
from vlbias.causal.hooks import register_write_hook
from vlbias.causal.patching import PatchTarget, Tokens, aligned_pairs
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import (
    Batch,
    Encoded,
    Port,
    Readout,
    StagedModel,
    Tower,
    find_port,
)
from vlbias.errors import BadStudy

__all__ = ["Score", "attributions", "mean_attributions"]

Changes = dict[Site, Tensor]
"""Site without its units to the change [units] through each unit of the tokens there."""
Score = Callable[[Readout, Sequence[Example]], Tensor]
"""A number [B] for each of B examples, from their readout."""
Pairs = dict[str, list[tuple[Any, Any]]]
"""Tower to the rows of an example, each with that of the other world."""


def mean_attributions(
    model: StagedModel,
    examples: Sequence[Example],
    contrast: Contrast,
    mediators: Sequence[Mediator],
    *,
    of: Score,
    batch: int = 8,
) -> tuple[Tensor, int]:
    """First-order changes of `of` through every mediator, base to other world, on average over examples.

    Args:
        model: Of any number of towers.
        examples: In their worlds.
        contrast: The two worlds.
        mediators: Sites inside towers; no whole stage.
        of: What changes.
        batch: Examples of one pass.

    Returns:
        [mediators], float64, NaN if no example is used; and how many are: those that have both worlds,
        with rows whose values can be exchanged.

    Raises:
        BadStudy: if a mediator is a whole stage.
    """
    ports = {site: _port(model, site) for mediator in mediators for site in mediator.sites}
    total, used = torch.zeros(len(mediators), dtype=torch.float64), 0
    kept = _Kept()
    for some in _alike(model, examples, contrast, batch):
        changes, count = _of_batch(model, some, ports, of, kept)
        used += count
        if count:
            total += torch.stack([_through(changes, ports, m) for m in mediators])
    return (total / used if used else total.fill_(torch.nan)), used


def attributions(
    model: StagedModel,
    examples: Sequence[Example],
    contrast: Contrast,
    mediators: Sequence[Mediator],
    *,
    of: Score,
) -> Iterator[Tensor]:
    """As `mean_attributions`, [mediators] of one example after the other; NaN where it cannot be used."""
    ports = {site: _port(model, site) for mediator in mediators for site in mediator.sites}
    kept = _Kept()
    for example in examples:
        found = torch.full((len(mediators),), torch.nan, dtype=torch.float64)
        for some in _alike(model, [example], contrast, 1):
            changes, count = _of_batch(model, some, ports, of, kept)
            if count:
                found = torch.stack([_through(changes, ports, m) for m in mediators])
        yield found


@dataclass(frozen=True)
class _Paired:
    """An example with its rows in both worlds."""

    example: Example
    pairs: Pairs


def _alike(
    model: StagedModel, examples: Sequence[Example], contrast: Contrast, batch: int
) -> Iterator[list[_Paired]]:
    """Examples that may share a pass: those whose rows are processed to the same sizes, as many of each."""
    sizes, groups = PhotoSizes(model), dict[Hashable, list[_Paired]]()
    for example in examples:
        if not {contrast.base, contrast.cf} <= set(example.worlds):
            continue
        base, other = (model.split(example.worlds[world]) for world in (contrast.base, contrast.cf))
        pairs = {name: list(zip(base[name], other[name], strict=True)) for name in base}
        kinds = {
            name: tuple({sizes.of(name, row) for pair in some for row in pair})
            for name, some in pairs.items()
        }
        if all(len(kind) <= 1 for kind in kinds.values()):
            counts = tuple((name, len(some), kinds[name]) for name, some in pairs.items())
            groups.setdefault(counts, []).append(_Paired(example, pairs))
    for group in groups.values():
        for start in range(0, len(group), batch):
            yield group[start : start + batch]


def _port(model: StagedModel, site: Site) -> Port:
    port = find_port(model, site)
    if port is None:
        raise BadStudy("screen", str(site), "mediators inside a stage, with a port")
    return port


def _through(changes: Changes, ports: dict[Site, Port], mediator: Mediator) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for site in mediator.sites:
        by_unit = changes[replace(site, units=None)]
        total = total + (by_unit if site.units is None else by_unit[list(site.units)]).sum()
    return total


@dataclass(frozen=True)
class _Rows:
    """The rows of a tower for some examples: each distinct pair of worlds once, base before other.

    Args:
        tower: The tower.
        distinct: What tells the pairs apart.
        batch: Rows of the base world, then their partners, if any differs.
        index: [examples, n] the pairs of each example.
        aligned: [pairs] whether values can be exchanged.
        changed: Whether any partner differs.
    """

    tower: Tower
    distinct: tuple[tuple[Hashable, Hashable], ...]
    batch: Batch
    index: Tensor
    aligned: Tensor
    changed: bool

    @classmethod
    def of(cls, model: StagedModel, tower: Tower, some: Sequence[_Paired]) -> _Rows:
        place: dict[tuple[Hashable, Hashable], int] = {}
        rows: list[tuple[Any, Any]] = []
        numbers: list[list[int]] = []
        for one in some:
            numbers.append([])
            for base, other in one.pairs[tower.name]:
                key = channel_key(base), channel_key(other)
                if key not in place:
                    place[key] = len(rows)
                    rows.append((base, other))
                numbers[-1].append(place[key])
        changed = any(base != other for base, other in place)
        sides = (0, 1) if changed else (0,)
        batch = model.collate(tower.name, [pair[side] for side in sides for pair in rows])
        own = torch.arange(len(place), device=next(iter(batch.values())).device)
        aligned = aligned_pairs(tower, batch, own, own + (len(place) if changed else 0))
        index = torch.tensor(numbers, device=own.device)
        return cls(tower, tuple(place), batch, index, aligned, changed)


class _Kept:
    """What towers gave that take no gradient: texts that all photos are asked, encoded once."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, Encoded]] = {}

    def encoded(self, model: StagedModel, rows: _Rows) -> Encoded:
        name = rows.tower.name
        known, value = self._last.get(name, (None, None))
        if known != rows.distinct:
            with torch.no_grad():
                value = model.encode(name, rows.batch)
            self._last[name] = rows.distinct, value
        return value


def _of_batch(
    model: StagedModel,
    some: Sequence[_Paired],
    ports: dict[Site, Port],
    of: Score,
    kept: _Kept,
) -> tuple[Changes, int]:
    """The changes through every site, summed over examples, and how many examples could be used."""
    rows = [_Rows.of(model, tower, some) for tower in model.towers]
    fine = torch.stack([one.aligned[one.index].all(1).cpu() for one in rows]).all(0)
    if not fine.any():
        return {}, 0
    index = {one.tower.name: one.index[fine.to(one.index.device)] for one in rows}
    examples = [one.example for one, known in zip(some, fine.tolist(), strict=True) if known]
    values, encoded = dict[Point, tuple[Tensor, Tensor]](), dict[str, Encoded]()
    with followed_gradients():
        for one in rows:
            points = _points(one.tower, ports)
            if not (one.changed and points):
                encoded[one.tower.name] = kept.encoded(model, one)
                continue
            with _nudged(model.net, points) as seen:
                encoded[one.tower.name] = model.encode(one.tower.name, one.batch)
            values |= seen
        value = of(model.join(encoded, index), examples).sum()
        nudges = [nudge for _, nudge in values.values()]
        slopes: Sequence[Tensor | None] = [None] * len(nudges)
        if nudges and value.requires_grad:
            slopes = torch.autograd.grad(value, nudges, allow_unused=True)
    products = {}
    for (point, (tensor, _)), slope in zip(values.items(), slopes, strict=True):
        if slope is not None:
            middle = len(tensor) // 2  # some models lay the tokens of all rows one behind the other
            products[point] = ((tensor[middle:] - tensor[:middle]) * slope[:middle]).detach()
    changes: Changes = {}
    for one in rows:
        changes |= _by_unit(products, ports, one)
    return changes, len(examples)


def _points(tower: Tower, ports: dict[Site, Port]) -> set[Point]:
    stages = {stage.name for stage in tower.stages}
    return {
        (port.path(site.layer), port.slot) for site, port in ports.items() if site.stage in stages
    }


def _by_unit(products: dict[Point, Tensor], ports: dict[Site, Port], rows: _Rows) -> Changes:
    """Changes through each unit of the sites in a tower."""
    changes: Changes = {}
    stages = {stage.name for stage in rows.tower.stages}
    for site, port in ports.items():
        every, point = replace(site, units=None), (port.path(site.layer), port.slot)
        if every in changes or site.stage not in stages:
            continue
        fixed = port.units_at(site.layer)
        if point not in products:  # nothing behind it reads what is there, or nothing there changes
            changes[every] = torch.zeros(fixed or 1, dtype=torch.float64)
            continue
        product = products[point]
        length = port.length or rows.tower.length
        whole = PatchTarget(every, port, point, 0, length)
        keys = [] if length is None else [length]
        tokens = Tokens.of(rows.tower, rows.batch, keys).rows(list(range(len(rows.aligned))))
        own = whole.write(torch.zeros_like(product), product, tokens)
        by_unit = own.unflatten(-1, (fixed or own.shape[-1], -1)).double()
        changes[every] = by_unit.sum((*range(own.ndim - 1), -1)).cpu()
    return changes


@contextmanager
def _nudged(net: nn.Module, points: set[Point]) -> Iterator[dict[Point, tuple[Tensor, Tensor]]]:
    """Within it, a zero is added at every point, and its slope can be asked for."""
    seen: dict[Point, tuple[Tensor, Tensor]] = {}

    def nudged(point: Point, tensor: Tensor) -> Tensor:
        nudge = torch.zeros_like(tensor, requires_grad=True)
        seen[point] = tensor.detach(), nudge
        return tensor + nudge

    with ExitStack() as hooks:
        for point in points:
            hooks.callback(register_write_hook(net, point, partial(nudged, point)))
        yield seen
