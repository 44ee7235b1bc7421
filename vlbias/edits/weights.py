"""From sites to the parameters of a network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from vlbias.causal.site import Site
from vlbias.causal.staged_model import Port, StagedModel, resolve
from vlbias.errors import BadModel, BadStudy

__all__ = ["OutputMap", "WeightBlock", "editable_maps", "output_maps", "weight_blocks"]

_BLOCKS = ("attn", "mlp", "resid")


@dataclass(frozen=True)
class WeightBlock:
    """The weights behind a site.

    Args:
        site: As the activation is named: the attention, the MLP, or the whole block ("resid").
        names: Parameters under `model.net`.
    """

    site: Site
    names: tuple[str, ...]


@dataclass(frozen=True)
class OutputMap:
    """The last linear map of an MLP, which reads neurons and gives what is added to the residual stream.

    Args:
        site: The MLP.
        path: Of the module under `model.net`.
        block: Path of the block it lies in.
        module: The module, a Linear or a Conv1D of transformers.
        is_last: Whether it is that of the last block, behind which no other token reads what it gives.
    """

    site: Site
    path: str
    block: str
    module: nn.Module
    is_last: bool

    @property
    def name(self) -> str:
        """The parameter under `model.net`."""
        return f"{self.path}.weight"

    @property
    def is_turned(self) -> bool:
        """Whether the parameter is [in, out]."""
        return type(self.module).__name__ == "Conv1D"

    @property
    def weight(self) -> Tensor:
        """A view of the map [out, in]; writing into it changes the model."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return weight.data.T if self.is_turned else weight.data


def output_maps(model: StagedModel, patterns: Sequence[str]) -> list[OutputMap]:
    """The last maps of the MLPs that patterns name, in order.

    Args:
        model: The model.
        patterns: Sites such as "lm/mlp.5" or "lm/mlp.*".

    Raises:
        UnknownName: if a stage or port does not exist, with suggestions.
        BadStudy: if a layer is out of range, or a site is no whole MLP.
        BadModel: if the map is no linear layer.
    """
    found = []
    for site in _sites(model, patterns):
        port = _port(model, site.stage, "neuron")
        if site.port != "mlp" or port is None:
            raise BadStudy("sites", str(site), "an MLP, such as 'lm/mlp.5': its last map is edited")
        path = port.path(site.layer)
        module = model.net.get_submodule(path)
        if not isinstance(module, nn.Linear) and type(module).__name__ != "Conv1D":
            raise BadModel(
                f"{model.name}: {path} is a {type(module).__name__}, not a linear map that can be edited; "
                f"choose other sites than {site}"
            )
        is_last = site.layer is None or site.layer + 1 == port.layers
        found.append(OutputMap(site, path, _block(model, site), module, is_last))
    return found


def editable_maps(model: StagedModel, patterns: Sequence[str]) -> list[OutputMap]:
    """The last maps of MLPs through which a subject can reach a later token: all but the last block's.

    Args:
        model: The model.
        patterns: Sites such as "lm/mlp.5"; of "lm/mlp.*" the last layer is left out.

    Raises:
        UnknownName: if a stage or port does not exist, with suggestions.
        BadStudy: if a site is no whole MLP, a layer is out of range, or the last block alone is named.
        BadModel: if a map is no linear layer.
    """
    maps = [one for one in output_maps(model, patterns) if not one.is_last]
    if not maps:
        expected = "an MLP before the last block: nothing behind that one reads the subject's token"
        raise BadStudy("sites", tuple(patterns), expected)
    return maps


def weight_blocks(model: StagedModel, patterns: Sequence[str]) -> list[WeightBlock]:
    """The weights that patterns name, in order.

    Args:
        model: The model.
        patterns: Sites such as "lm/mlp.0", "lm/attn.*", or "lm/resid.2" for a whole block.

    Raises:
        UnknownName: if a stage or port does not exist, with suggestions.
        BadStudy: if a layer is out of range, or a site is no block of weights.
    """
    found = []
    for site in _sites(model, patterns):
        head = _port(model, site.stage, "head")
        if site.port not in _BLOCKS or head is None:
            raise BadStudy("sites", str(site), f"one of {', '.join(_BLOCKS)} with a layer")
        block = _block(model, site)
        # attention is one module of the block; linear maps outside it are the MLP
        attention = head.path(site.layer).removeprefix(f"{block}.").split(".")[0]
        names = tuple(
            f"{block}.{name}"
            for name, _ in model.net.get_submodule(block).named_parameters()
            if _belongs(model.net.get_submodule(block), name, attention, site.port)
        )
        if not names:
            raise BadStudy("sites", str(site), "a block that has such weights; this one has none")
        found.append(WeightBlock(site, names))
    return found


def _sites(model: StagedModel, patterns: Sequence[str]) -> list[Site]:
    if not patterns:
        raise BadStudy("sites", patterns, "one or more, such as 'lm/mlp.5'")
    try:
        sites = [site for mediator in resolve(model, patterns) for site in mediator.sites]
    except BadStudy as error:
        raise BadStudy("sites", error.given, error.expected) from error
    for site in sites:
        if site.units is not None or site.positions is not None:
            raise BadStudy("sites", str(site), "a whole block, without units or positions")
    return sites


def _port(model: StagedModel, stage: str, name: str) -> Port | None:
    return next((p for p in model.ports if (p.stage, p.name) == (stage, name)), None)


def _block(model: StagedModel, site: Site) -> str:
    """The module that holds attention and MLP of a layer; their paths begin with it."""
    ports = [_port(model, site.stage, name) for name in ("head", "neuron")]
    if site.layer is None or None in ports:
        raise BadStudy("sites", str(site), f"a layer whose attention and MLP {model.name} declares")
    paths = [port.path(site.layer).split(".") for port in ports if port is not None]
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*paths, strict=False))
    return ".".join(part for part, _ in same)


def _belongs(block: nn.Module, name: str, attention: str, port: str) -> bool:
    if port == "resid":
        return True
    if port == "attn":
        return name.split(".")[0] == attention
    module = block.get_submodule(name.rpartition(".")[0])
    is_linear = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
    return is_linear and name.split(".")[0] != attention
