"""What the engine needs to know of a model: towers, their stages, ports inside them, one join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from vlbias.causal.example import Inputs
from vlbias.causal.site import Mediator, Site
from vlbias.errors import BadStudy, UnknownName

__all__ = [
    "Batch",
    "CausalModel",
    "Encoded",
    "Port",
    "Readout",
    "Stage",
    "StagedModel",
    "Tower",
    "find_port",
    "resolve",
]

Batch = dict[str, Tensor]
Encoded = Any
"""What a tower gives: a tensor, or a pytree of tensors, rows first."""
Readout = dict[str, Tensor]
"""What outcomes may see, rows first: score [B]; class_logits [B, K]; boxes [B, Q, 4]; y [B] …"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A named part of a tower's forward pass, called exactly once.

    Args:
        name: For example "image_encoder".
        module: Dotted path under `model.net`; its output is a pytree of tensors, rows first.
        parents: Stages of the same tower whose output can reach this one.
        blocks: Dotted paths of the blocks the stage runs in order, each fed by the one before and
            read by nothing else. Declaring them lets the engine skip those before a replacement
            without copying their outputs.
        tail: Modules of the last block that work token by token, where only one token of that block is
            read afterwards: token 0, or in a causal tower those of `Tower.reads` if they are one.
            Behind a replacement they are run on that token alone; the other tokens are then
            meaningless, and nothing may read them.
        called: Modules inside that are called whenever the stage runs, also those whose recorded output is
            given back: a hook of the network's own collects what they give.
        apart: In a causal tower, whether its tokens are not those of `Tower.causal`, as in an image
            encoder before a language model. What it gave is never cut.
        ends: Whether what is behind all stages, a class head for example, reads its output too.
    """

    name: str
    module: str
    parents: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    apart: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor [rows, tokens, units · width] inside a stage.

    Args:
        stage: The stage it lies in.
        name: What it is: "attn", "mlp", "head", "neuron", "resid".
        module: Dotted path under `model.net`; may hold "{layer}".
        slot: Whether the tensor is the module's first input or its (first) output.
        layers: How many layers there are; None if the path has no "{layer}".
        units: Into how many units the last axis splits, in all layers or layer by layer; None if
            every channel is a unit.
        cut: Whether it contains the residual stream, so that replacing it replaces all before it.
        names: What stands for "{layer}" in the path of each layer, where it is not its number:
            blocks that lie in groups.
        length: Key of the batch with each row's number of tokens here; the tower's if not given.
        keys: Whether the width of a unit counts the tokens that it attends to.
        spans: Whether the tokens here are those that the tower's named spans mark.
    """

    stage: str
    name: str
    module: str
    slot: Literal["in", "out"] = "out"
    layers: int | None = None
    units: int | tuple[int, ...] | None = None
    cut: bool = False
    names: tuple[str, ...] = ()
    length: str | None = None
    keys: bool = False
    spans: bool = True

    def path(self, layer: int | None) -> str:
        """Dotted path of one layer under `model.net`."""
        name = self.names[layer] if self.names and layer is not None else layer
        return self.module.format(layer=name)

    def units_at(self, layer: int | None) -> int | None:
        """Units of one layer."""
        return self.units[layer or 0] if isinstance(self.units, tuple) else self.units


@dataclass(frozen=True, slots=True)
class Tower:
    """A maximal part of a model that shares no computation with the rest before the join.

    A dual encoder has two towers, each with rows of its own; a fusion model has one.

    Args:
        name: Key of `collate`, `encode` and `join`.
        channels: Channels of the inputs that it reads.
        stages: In topological order.
        aligned: Keys of its batch that must be equal in two rows for values inside to be exchanged.
        length: Key of its batch with each row's number of tokens, where rows are padded to the longest:
            positions count from a row's own ends, so that they do not depend on its neighbours.
        causal: Key of its batch with the token ids [rows, tokens], where no token sees those behind it
            and the model is a `CausalModel`: then rows are resumed at the first token in which they
            differ, and all before it is kept.
        reads: Key of a causal tower's batch with the tokens [rows, P] that are read from its last block:
            nothing behind them is run, and the tail of a stage on them alone; all tokens if not given.
        begins: Key of a causal tower's batch with a mask [rows, tokens] of those at which a resumed pass
            may begin; all if not given. An image's tokens may only be run together.
        spans: What the keys of its batch begin with that hold a mask [rows, tokens] of a named span;
            positions may then be given by that name. They must be equal in two rows, as `aligned`.
    """

    name: str
    channels: tuple[str, ...]
    stages: tuple[Stage, ...]
    aligned: tuple[str, ...] = ()
    length: str | None = None
    spans: str | None = None
    causal: str | None = None
    reads: str | None = None
    begins: str | None = None


class StagedModel(Protocol):
    """What an adapter provides. The engine knows nothing else about a model.

    `revision` identifies the weights (a hash, or a hub commit) and goes into every cell key; `gives`
    are the keys of its readouts.
    """

    name: str
    revision: str
    net: nn.Module
    towers: tuple[Tower, ...]
    ports: tuple[Port, ...]
    gives: frozenset[str]

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """The rows of each tower that one example needs, as raw channel values."""
        ...

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """The batch of these rows, on the model's device."""
        ...

    def encode(self, tower: str, batch: Batch) -> Encoded:
        """The tower's output for a batch, rows first and independent of one another."""
        ...

    def join(self, values: Mapping[str, Encoded], index: Mapping[str, Tensor]) -> Readout:
        """The readout of B examples.

        Args:
            values: Tower name to encoded rows.
            index: Tower name to the rows [B, n] that each example uses.
        """
        ...


class CausalModel(StagedModel, Protocol):
    """A model that can go on behind the first tokens of rows it has seen."""

    def past(self, tower: str, batch: Batch) -> Any:
        """What later tokens read of earlier ones, for every row of a batch: keys and values."""
        ...

    def continued(self, tower: str, batch: Batch, past: Any, rows: Tensor, start: int) -> Encoded:
        """As `encode`, running only the tokens from `start` on.

        Args:
            tower: The tower.
            batch: Whole rows.
            past: From `past`, of a batch whose rows are numbered by `rows`.
            rows: The row [R] of `past` that each row of `batch` continues.
            start: How many tokens are not run.
        """
        ...


def find_port(model: StagedModel, site: Site) -> Port | None:
    """The port a site lies in; None for a whole stage.

    Raises:
        UnknownName: if the model has no such stage or port, with suggestions.
        BadStudy: if layer or units are out of range.
    """
    stages = [stage.name for tower in model.towers for stage in tower.stages]
    if site.stage not in stages:
        raise UnknownName(f"stage of {model.name}", site.stage, stages)
    if site.port is None:
        return None
    ports = {port.name: port for port in model.ports if port.stage == site.stage}
    if site.port not in ports:
        raise UnknownName(f"port of {model.name}'s {site.stage}", site.port, ports)
    port = ports[site.port]
    if (site.layer is None) != (port.layers is None):
        expected = "no layer" if port.layers is None else f"a layer from 0 to {port.layers - 1}"
        raise BadStudy("mediators", str(site), expected)
    if site.layer is not None and port.layers is not None and site.layer >= port.layers:
        raise BadStudy("mediators", str(site), f"a layer from 0 to {port.layers - 1}")
    if not port.spans and any(isinstance(place, str) for place in site.positions or ()):
        expected = "numbers of tokens: the named spans are of another stage's tokens"
        raise BadStudy("mediators", str(site), expected)
    units = port.units_at(site.layer)
    if site.units is not None and units is not None and max(site.units) >= units:
        raise BadStudy("mediators", str(site), f"units from 0 to {units - 1}")
    return port


def resolve(model: StagedModel, patterns: Sequence[str | Mediator]) -> list[Mediator]:
    """The mediators that patterns name, in order and without repeats.

    `*` stands for every layer ("image_encoder/attn.*") and every unit ("image_encoder/head.*[*]"). Patterns
    joined by "+" are replaced together, layer by layer: "image_encoder/attn.*+image_encoder/mlp.*" is what
    every block adds. After "all " a pattern is one mediator of everything it stands for: "all lm/attn.*".

    Raises:
        UnknownName: if a stage or port does not exist, with suggestions.
        BadStudy: if a pattern has another form, or units are to be listed that have no count.
    """
    found: dict[str, Mediator] = {}
    for pattern in patterns:
        for mediator in [pattern] if isinstance(pattern, Mediator) else _expand(model, pattern):
            for site in mediator.sites:
                find_port(model, site)
            found[mediator.name] = mediator
    return list(found.values())


def _joined(model: StagedModel, pattern: str) -> list[Mediator]:
    """One mediator of the first of every part, one of the second, and so on."""
    parts = [_expand(model, part) for part in pattern.split("+")]
    counts = [len(part) for part in parts]
    if len(set(counts)) > 1:
        expected = f'as many layers and units in every part joined by "+", not {counts}'
        raise BadStudy("mediators", pattern, expected)
    return [
        Mediator.of(site for mediator in row for site in mediator.sites)
        for row in zip(*parts, strict=True)
    ]


def _expand(model: StagedModel, pattern: str) -> list[Mediator]:
    if pattern.startswith("all "):
        given = pattern.removeprefix("all ")
        if "all " in given:
            raise BadStudy("mediators", pattern[:200], '"all " once, before everything it joins')
        inside = _expand(model, given)
        return [Mediator(pattern, tuple(site for one in inside for site in one.sites))]
    if "+" in pattern:
        return _joined(model, pattern)
    try:
        probe = Site.parse(pattern.replace(".*", ".0").replace("[*]", "[0]"))
    except BadStudy as error:
        raise BadStudy(error.field, pattern[:200], error.expected) from error
    port = find_port(model, probe)
    layers: list[int | None] = [probe.layer]
    if ".*" in pattern and port is not None and port.layers is not None:
        layers = list(range(port.layers))
    texts = []
    for layer in layers:
        text = pattern.replace(".*", f".{layer}")
        if "[*]" not in pattern:
            texts.append(text)
            continue
        units = None if port is None else port.units_at(layer)
        if units is None:
            raise BadStudy("mediators", pattern, "a port with a fixed number of units before [*]")
        texts += [text.replace("[*]", f"[{unit}]") for unit in range(units)]
    return [Mediator.of([text]) for text in texts]
