"""Where mitigations reach into a model: sites, changed by a lent forward.

A forward is lent rather than a hook set, because the engine lends recorded outputs the same way: a
module that gives back what it gave under the mitigation is not mitigated a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.hooks import first_tensor, with_first_tensor
from vlbias.causal.site import Site
from vlbias.causal.staged import Batch, Encoded, Port, StagedModel, Tower, find_port, resolve
from vlbias.errors import BadStudy
from vlbias.mitigations.mitigated_model import MitigatedModel

__all__ = [
    "Place",
    "changed",
    "changing",
    "lines",
    "placed",
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
