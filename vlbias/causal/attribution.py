"""What a replacement would change to first order: approximate, and only good for choosing what to run.

Gradient times difference (attribution patching): of a function f of the readout, the change through a
mediator is about the sum over its sites of (z_other - z_base) · df/dz, all from one forward and one
backward pass. It is wrong where f bends between the two values, so it is no effect: `Engine` gives those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from vlbias.causal.call_order import Point
from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example
from vlbias.causal.hooks import register_write_hook
from vlbias.causal.patching import PatchTarget, Tokens, aligned_pairs
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import Batch, Port, Readout, StagedModel, Tower, find_port
from vlbias.errors import BadStudy

__all__ = ["attributions"]

Changes = dict[tuple[str, str, tuple[int | str, ...] | None], Tensor]
"""Module, slot and positions to the change [units] through each unit of the tokens there."""


def attributions(
    model: StagedModel,
    examples: Sequence[Example],
    contrast: Contrast,
    mediators: Sequence[Mediator],
    *,
    of: Callable[[Readout], Tensor],
) -> Tensor:
    """First-order changes of `of` through every mediator, base to other world.

    Args:
        model: A model of one tower.
        examples: In both worlds of the contrast, one after the other.
        contrast: The two worlds.
        mediators: Sites inside the tower; no whole stage.
        of: Readout of one example to a number.

    Returns:
        [examples, mediators], float64; NaN where an example lacks a world or its worlds are misaligned.

    Raises:
        BadStudy: if the model has several towers, or a mediator is a whole stage.
    """
    if len(model.towers) != 1:
        raise BadStudy("screen", model.name, "a model of one tower, such as a language model")
    ports = {site: _port(model, site) for mediator in mediators for site in mediator.sites}
    found = torch.full((len(examples), len(mediators)), torch.nan, dtype=torch.float64)
    for number, example in enumerate(examples):
        if {contrast.base, contrast.cf} <= set(example.worlds):
            changes = _of_example(model, example, contrast, ports, of)
            if changes is not None:
                found[number] = torch.stack([_through(changes, ports, m) for m in mediators])
    return found


def _port(model: StagedModel, site: Site) -> Port:
    port = find_port(model, site)
    if port is None:
        raise BadStudy("screen", str(site), "mediators inside a stage, with a port")
    return port


def _through(changes: Changes, ports: dict[Site, Port], mediator: Mediator) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for site in mediator.sites:
        port = ports[site]
        by_unit = changes[port.path(site.layer), port.slot, site.positions]
        total = total + (by_unit if site.units is None else by_unit[list(site.units)]).sum()
    return total


def _of_example(
    model: StagedModel,
    example: Example,
    contrast: Contrast,
    ports: dict[Site, Port],
    of: Callable[[Readout], Tensor],
) -> Changes | None:
    """The changes through every site of one example; None if its worlds are misaligned."""
    tower = model.towers[0]
    base, other = (model.split(example.worlds[w])[tower.name] for w in (contrast.base, contrast.cf))
    rows = list(dict.fromkeys(base))
    partner = {row: other[base.index(row)] for row in rows}
    batch = model.collate(tower.name, [*rows, *(partner[row] for row in rows)])
    half = len(rows)
    rows_of_base = torch.arange(half, device=next(iter(batch.values())).device)
    if not bool(aligned_pairs(tower, batch, rows_of_base, rows_of_base + half).all()):
        return None
    points: set[Point] = {(port.path(site.layer), port.slot) for site, port in ports.items()}
    index = {tower.name: torch.tensor([[rows.index(row) for row in base]])}
    with torch.inference_mode(False), torch.enable_grad(), _nudged(model.net, points) as seen:
        encoded = model.encode(tower.name, batch)
        value = of(model.join({tower.name: encoded}, index))
        values = {point: tensor for point, (tensor, _) in seen.items()}
        nudges = [nudge for _, nudge in seen.values()]
        slopes = torch.autograd.grad(value, nudges, allow_unused=True)
    products = {}
    for (point, tensor), slope in zip(values.items(), slopes, strict=True):
        if slope is not None:
            middle = len(tensor) // 2  # some models lay the tokens of all rows one behind the other
            products[point] = ((tensor[middle:] - tensor[:middle]) * slope[:middle]).detach()
    return _by_unit(products, ports, tower, batch, half)


def _by_unit(
    products: dict[Point, Tensor], ports: dict[Site, Port], tower: Tower, batch: Batch, rows: int
) -> Changes:
    changes: Changes = {}
    for site, port in ports.items():
        point = (port.path(site.layer), port.slot)
        key = (*point, site.positions)
        if key in changes:
            continue
        fixed = port.units_at(site.layer)
        if point not in products:  # nothing behind it reads what is there
            changes[key] = torch.zeros(fixed or 1, dtype=torch.float64)
            continue
        product = products[point]
        length = port.length or tower.length
        keys = [] if length is None else [length]
        every = replace(site, units=None)
        whole = PatchTarget(every, port, point, 0, length)
        tokens = Tokens.of(tower, batch, keys).rows(list(range(rows)))
        kept = whole.write(torch.zeros_like(product), product, tokens)
        units = fixed or kept.shape[-1]
        changes[key] = kept.unflatten(-1, (units, -1)).double().sum((*range(kept.ndim - 1), -1))
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
