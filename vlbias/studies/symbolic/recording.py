"""What heads give and attend to in a forward pass, and passes with some heads silenced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlbias.causal.hooks import first_tensor, register_write_hook
from vlbias.causal.staged_model import Port, StagedModel
from vlbias.causal.turns import in_turn

__all__ = ["HeadRecord", "heads_port", "recorded_heads", "silenced_heads"]

Head = tuple[int, int]
"""Layer and number."""


@dataclass(frozen=True)
class HeadRecord:
    """What heads give and attend to.

    Args:
        output: [prompts, layers, tokens, heads, width].
        weights: Attention weights [prompts, layers, queries, heads, keys].
    """

    output: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]


def heads_port(model: StagedModel, name: str = "head") -> Port:
    """The port of all heads of a model."""
    return next(port for port in model.ports if port.name == name)


def recorded_heads(model: Any, ids: Sequence[Sequence[int]]) -> HeadRecord:
    """Outputs and attention weights of all heads for prompts of one length.

    Args:
        model: A causal language model.
        ids: Tokens [prompts][tokens].
    """
    kept: dict[str, list[Tensor]] = {"head": [], "weights": []}
    with in_turn(model), ExitStack() as hooks:
        for name, tensors in kept.items():
            port = heads_port(model, name)
            for layer in range(port.layers or 1):
                hooks.callback(_keep(model, port, layer, tensors.append))
        model.next_token_logits(ids)
    output, weights = (
        torch.stack(tensors, 1).unflatten(-1, (heads_port(model, name).units, -1)).float()
        for name, tensors in kept.items()
    )
    return HeadRecord(output.cpu().numpy(), weights.cpu().numpy())


def _keep(model: Any, port: Port, layer: int, keep: Callable[[Tensor], None]) -> Any:
    module = model.net.get_submodule(port.path(layer))
    if port.slot == "in":

        def before(_: Any, args: Any, kwargs: Any) -> None:
            keep(first_tensor((args, kwargs)).clone())

        return module.register_forward_pre_hook(before, with_kwargs=True).remove

    def after(_: Any, __: Any, output: Any) -> None:
        keep(first_tensor(output).clone())

    return module.register_forward_hook(after).remove


@contextmanager
def silenced_heads(model: Any, heads: Sequence[Head], tokens: Sequence[int]) -> Iterator[None]:
    """The outputs of some heads are 0 at some tokens, as long as the context lasts.

    Args:
        model: A causal language model.
        heads: Layer and number of each.
        tokens: Positions.
    """
    port = heads_port(model)
    places = torch.tensor(list(tokens))
    with in_turn(model), ExitStack() as hooks:
        for layer in sorted({layer for layer, _ in heads}):
            numbers = torch.tensor([head for there, head in heads if there == layer])

            def write(tensor: Tensor, numbers: Tensor = numbers) -> Tensor:
                parts: Tensor = tensor.unflatten(-1, (port.units, -1)).clone()
                parts[:, places[:, None], numbers] = 0
                return parts.flatten(-2, -1)

            point = (port.path(layer), port.slot)
            hooks.callback(register_write_hook(model.net, point, write))
        yield
