"""Where mitigations reach into a model: sites, whose tensors are changed by a patched forward.

The forward is patched, and no hook is set, because the engine replaces outputs in the same way. A
module that returns its recorded output, mitigation included, is then not mitigated a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.hooks import first_tensor, patched_forward, with_first_tensor
from vlbias.causal.site import Site
from vlbias.causal.staged_model import Batch, Encoded, Port, StagedModel, Tower, find_port, resolve
from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.mitigations.mitigated_model import MitigatedModel

__all__ = [
    "SitePoint",
    "channels_last",
    "patched_tensor",
    "site_points",
    "span_mask",
    "written_model",
]

Write = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SitePoint:
    """A site with the tower it lies in; without a port it is the embedding that the tower gives.

    `order` sorts sites by depth: stage by stage as the model lists them, layer by layer.
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
            value = channels_last(tensor) if self.port is not None else tensor
            own = self.channels(value.shape[-1])
            if own is None:
                new = edit(value)
            else:
                own = own.to(value.device)
                new = value.index_copy(-1, own, edit(value.index_select(-1, own)))
            return new.movedim(-1, 1) if value is not tensor else new

        return written


def site_points(model: StagedModel, patterns: Sequence[str]) -> list[SitePoint]:
    """The sites that patterns name, in order of depth.

    Args:
        model: The model.
        patterns: Sites, with wildcards: "image_encoder/resid.*", "text_encoder/head.3[1]"; a stage
            alone is the embedding its tower gives. A named span stands for its tokens: "lm/resid.3@image".

    Raises:
        UnknownName: if the model has no such stage or port, with suggestions.
        BadStudy: if layer or units are out of range, or a site numbers positions, or is a stage that is
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
            _refuse_places(site, tower)
            if port is None and len(tower.stages) > 1:
                ports = sorted(p.name for p in model.ports if p.stage == site.stage)
                expected = f"a port inside {site.stage}: {', '.join(ports)}"
                raise BadStudy("sites", str(site), expected)
            layer = 1 << 30 if port is None else site.layer or 0
            found.append(SitePoint(site, tower, port, (number, layer)))
    return sorted(found, key=lambda point: point.order)


def _refuse_places(site: Site, tower: Tower) -> None:
    """Nothing, for a site of all tokens, or of those of named spans."""
    named = all(isinstance(place, str) for place in site.positions or ())
    if site.positions is not None and not (named and tower.spans):
        expected = "a site without positions"
        if tower.spans:
            expected += ", or at a named span such as @image: numbers are other words in every text"
        raise BadStudy("sites", str(site), expected)


def span_mask(point: SitePoint, batch: Batch) -> Tensor:
    """Which tokens a site at named spans is, [rows, tokens].

    Args:
        point: The site.
        batch: Of its tower.

    Raises:
        UnknownName: if no span of the texts is called so, with suggestions.
    """
    prefix = point.tower.spans or ""
    known = {key.removeprefix(prefix): key for key in batch if key.startswith(prefix)}
    masks = []
    for name in map(str, point.site.positions or ()):
        if name not in known:
            raise UnknownName(f"span of the texts (site {point.site})", name, known)
        masks.append(batch[known[name]].bool())
    return torch.stack(masks).any(0)


def patched_tensor(module: nn.Module, slot: str, write: Write) -> AbstractContextManager[None]:
    """Apply `write` to the first tensor that a module takes (slot "in") or returns ("out")."""
    forward = module.forward

    def written(*args: Any, **kwargs: Any) -> Any:
        if slot == "in":
            given = with_first_tensor((args, kwargs), write(first_tensor((args, kwargs))))
            return forward(*given[0], **given[1])
        output = forward(*args, **kwargs)
        return with_first_tensor(output, write(first_tensor(output)))

    return patched_forward(module, written)


class _ChangedOutputs(MitigatedModel):
    """A model whose towers' outputs are changed, and the tokens of named spans inside them."""

    def __init__(self, inner: StagedModel, revision: str, ends: Mapping[str, list[Write]]) -> None:
        super().__init__(inner, revision)
        self._ends = ends
        self._running: tuple[Batch, int] | None = None

    @contextmanager
    def _runs(self, batch: Batch, start: int = 0) -> Iterator[None]:
        """What runs as long as the context lasts: a batch, from which token on."""
        before, self._running = self._running, (batch, start)
        try:
            yield
        finally:
            self._running = before

    def within_span(self, point: SitePoint, write: Write) -> Write:
        """A change of the tokens of a site's spans alone; all others stay bit by bit as they are."""

        def written(tensor: Tensor) -> Tensor:
            if self._running is None:
                raise BadData(
                    f"{self.name}: {point.site} ran without a batch that says where its span is; call the "
                    "mitigated model's encode (or vlbias), not the network itself"
                )
            batch, start = self._running
            mask = span_mask(point, batch)[:, start:]
            tokens = tensor.shape[1] if tensor.ndim == 3 else len(tensor) // len(mask)
            mask = mask[:, :tokens].to(tensor.device)
            mask = mask[..., None] if tensor.ndim == 3 else mask.flatten()[:, None]
            return torch.where(mask, write(tensor), tensor)

        return written

    def _ended(self, tower: str, encoded: Encoded) -> Encoded:
        for write in self._ends.get(tower, ()):
            encoded = with_first_tensor(encoded, write(first_tensor(encoded)))
        return encoded

    def encode(self, tower: str, batch: Batch) -> Encoded:
        """What the tower gives, changed."""
        with self._runs(batch):
            return self._ended(tower, self.inner.encode(tower, batch))

    def past(self, tower: str, batch: Batch) -> Any:
        """As `encode`, of the tokens that are kept."""
        with self._runs(batch):
            return super().past(tower, batch)

    def continued(self, tower: str, batch: Batch, past: Any, rows: Tensor, start: int) -> Encoded:
        """As `encode`."""
        with self._runs(batch, start):
            return self._ended(tower, super().continued(tower, batch, past, rows, start))


@contextmanager
def written_model(
    model: StagedModel, revision: str, writes: Sequence[tuple[SitePoint, Write]]
) -> Iterator[StagedModel]:
    """The model with the tensor at each site rewritten.

    Args:
        model: Left as found on exit.
        revision: Of the changed model.
        writes: Site, and new tensor from old one, both with channels last.
    """
    ends: dict[str, list[Write]] = {}
    narrow = _without_tails(model, [point for point, _ in writes])
    mitigated = _ChangedOutputs(model, revision, ends)
    mitigated.towers = narrow
    with ExitStack() as stack:
        for point, write in writes:
            if point.port is None:
                ends.setdefault(point.tower.name, []).append(write)
                continue
            module = model.net.get_submodule(point.path)
            own = write if point.site.positions is None else mitigated.within_span(point, write)
            stack.enter_context(patched_tensor(module, point.port.slot, own))
        yield mitigated


def _without_tails(model: StagedModel, points: Sequence[SitePoint]) -> tuple[Tower, ...]:
    """The towers without the tails in which a site lies: a site reads all tokens."""
    inside = {point.path for point in points if point.port is not None}

    def cut(tower: Tower) -> Tower:
        stages = tuple(
            replace(stage, tail=())
            if stage.tail and any(path.startswith(stage.blocks[-1]) for path in inside)
            else stage
            for stage in tower.stages
        )
        return replace(tower, stages=stages)

    return tuple(map(cut, model.towers))


def channels_last(tensor: Tensor) -> Tensor:
    """The tensor with channels on the last axis: feature maps [R, C, h, w] become [R, h, w, C]."""
    return tensor.movedim(1, -1) if tensor.ndim == 4 else tensor
