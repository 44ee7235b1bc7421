"""The reference the engine is measured against: one full forward pass per number, plain torch hooks.

Nothing here uses the engine's tape, trace or sweep; rows never share a batch with another row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.example import Inputs
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import Readout, StagedModel, Tower

ARMS = ("00", "11", "01", "10")


def naive_arms(
    model: StagedModel, base: Inputs, cf: Inputs, mediator: Mediator
) -> dict[str, Readout]:
    """Readouts of one example in the four arms, each from whole forward passes of its own."""
    worlds = (base, cf)
    nothing = Mediator("", ())
    return {
        arm: _outcome(
            model, worlds[int(arm[0])], worlds[int(arm[1])], nothing if arm in "00 11" else mediator
        )
        for arm in ARMS
    }


@torch.inference_mode()
def _outcome(model: StagedModel, direct: Inputs, through: Inputs, mediator: Mediator) -> Readout:
    values, index = {}, {}
    for tower in model.towers:
        own, donor = model.split(direct)[tower.name], model.split(through)[tower.name]
        inside = {stage.name for stage in tower.stages}
        sites = [site for site in mediator.sites if site.stage in inside]
        rows = [
            _row(model, tower, mine, other, sites) for mine, other in zip(own, donor, strict=True)
        ]
        values[tower.name] = tree_map(lambda *parts: torch.cat(parts), *rows)
        index[tower.name] = torch.arange(len(rows))[None]
    return model.join(values, index)


def _row(model: StagedModel, tower: Tower, own: Any, donor: Any, sites: list[Site]) -> Any:
    """The tower's output for one row with the sites' values taken from another row's own pass."""
    both = model.collate(tower.name, [own, donor])  # together, so that padding agrees
    one, other = ({key: tensor[i : i + 1] for key, tensor in both.items()} for i in (0, 1))
    if not sites:
        return _copy(model.encode(tower.name, one))
    seen: dict[Site, Any] = {}

    def keep(site: Site, value: Any) -> Any:
        seen[site] = _copy(value)  # a copy: callers overwrite parts of what modules return
        return value

    with _hooked(model, sites, keep):
        model.encode(tower.name, other)
    end = int(one[tower.length]) if tower.length else None
    with _hooked(model, sites, lambda site, value: _replaced(model, site, value, seen[site], end)):
        return _copy(model.encode(tower.name, one))


def _place(model: StagedModel, site: Site) -> tuple[str, str, int | None]:
    if site.port is None:
        stages = {stage.name: stage for tower in model.towers for stage in tower.stages}
        return stages[site.stage].module, "out", None
    port = next(p for p in model.ports if (p.stage, p.name) == (site.stage, site.port))
    units = port.units[site.layer or 0] if isinstance(port.units, tuple) else port.units
    name = port.names[site.layer or 0] if port.names else str(site.layer)
    return port.module.replace("{layer}", name), port.slot, units


@contextmanager
def _hooked(
    model: StagedModel, sites: list[Site], change: Callable[[Site, Any], Any]
) -> Iterator[None]:
    with ExitStack() as stack:
        for site in sites:
            name, slot, _ = _place(model, site)
            module = model.net.get_submodule(name)
            if slot == "in":

                def before(_: Any, args: tuple[Any, ...], site: Site = site) -> tuple[Any, ...]:
                    return (change(site, args[0]), *args[1:])

                stack.callback(module.register_forward_pre_hook(before).remove)
            else:

                def after(_: Any, __: Any, output: Any, site: Site = site) -> Any:
                    return change(site, output)

                stack.callback(module.register_forward_hook(after, prepend=True).remove)
        yield


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return type(value)(**{key: _copy(part) for key, part in value.items()})
    if isinstance(value, tuple | list):
        return type(value)(_copy(part) for part in value)
    return value


def _replaced(model: StagedModel, site: Site, value: Any, donor: Any, end: int | None) -> Any:
    if site.port is None:
        return _copy(donor)
    units = _place(model, site)[2]
    if isinstance(value, tuple):
        return (_mixed(site, value[0], donor[0], units, end), *value[1:])
    return _mixed(site, value, donor, units, end)


def _mixed(site: Site, own: Tensor, donor: Tensor, units: int | None, end: int | None) -> Tensor:
    if own.ndim == 2 and site.positions is not None:  # OPT lays the tokens of a batch in one line
        return _mixed(site, own[None], donor[None], units, end)[0]
    width = own.shape[-1] // units if units else 1
    channels = range(own.shape[-1])
    if site.units is not None:
        channels = [u * width + k for u in site.units for k in range(width)]
    new = own.clone()
    if site.positions is None:
        new[..., list(channels)] = donor[..., list(channels)]
        return new
    for position in site.positions:
        place = position + (end or own.shape[1]) if position < 0 else position
        new[:, place, list(channels)] = donor[:, place, list(channels)]
    return new
