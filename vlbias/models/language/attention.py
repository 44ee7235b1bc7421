"""Attention whose weights can be read and replaced.

The fused kernels of torch never hold the weights. The models of this package therefore run, for all
of a study's numbers, one plain softmax attention that hands its weights to a module of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.activations import NewGELUActivation
from transformers.cache_utils import Cache, DynamicLayer
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from vlbias.errors import BadModel

__all__ = [
    "NAME",
    "PROBE",
    "Past",
    "Prefix",
    "add_probe",
    "refuse_other_direction",
    "use_fused_gelu",
    "use_open_attention",
]

NAME = "vlbias_open"
PROBE = "attention_weights"


class Prefix(DynamicLayer):
    """Keys and values of the first tokens of recorded rows, picked when a layer asks for them.

    Args:
        keys: [recorded rows, key heads, tokens, width].
        values: As `keys`.
        rows: The recorded row of each row that reads.
        start: How many tokens are read.
    """

    def __init__(self, keys: Tensor, values: Tensor, rows: Tensor, start: int) -> None:
        super().__init__()
        self._recorded, self._rows, self._start = (keys, values), rows, start

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """The recorded tokens with the new ones behind them; nothing is kept."""
        keys, values = (tensor[:, :, : self._start] for tensor in self._recorded)
        return (
            torch.cat([keys.index_select(0, self._rows), key_states], 2),
            torch.cat([values.index_select(0, self._rows), value_states], 2),
        )

    def get_seq_length(self) -> int:
        """How many tokens stand before those that run."""
        return self._start


class Past(Cache):
    """Keys and values of the first tokens of recorded rows, layer by layer.

    Args:
        recorded: Keys and values of each layer, [recorded rows, key heads, tokens, width].
        rows: The recorded row of each row that reads.
        start: How many tokens are read.
    """

    def __init__(self, recorded: Sequence[tuple[Tensor, Tensor]], rows: Tensor, start: int) -> None:
        super().__init__(layers=[Prefix(*layer, rows, start) for layer in recorded])
        self._given = recorded, rows, start

    def of_rows(self, rows: slice) -> Past:
        """What some of the rows read."""
        recorded, index, start = self._given
        return Past(recorded, index[rows], start)


def refuse_other_direction(name: str, config: Any, masked: bool) -> None:
    """Nothing, if a model reads texts in the direction that its family is read in.

    Args:
        name: Of the model, for messages.
        config: Its settings.
        masked: Whether its family sees both sides of a mask.

    Raises:
        BadModel: if a causal model sees what stands behind a token, or one that fills masks does not.
    """
    if not masked and getattr(config, "use_bidirectional_attention", None):
        raise BadModel(
            f"{name}: use_bidirectional_attention is set: the model sees the tokens behind the one that it "
            "is asked for, so that what it gives a candidate is no probability of the next token. Give a "
            "causal model."
        )
    if masked and getattr(config, "is_decoder", False):
        raise BadModel(
            f"{name}: is_decoder is set: the model does not see what stands behind a mask. Give a model "
            "that fills masks, or one of a causal family."
        )


def add_probe(core: nn.Module) -> None:
    """Give a module that calls the attention function the place where its weights pass."""
    core.add_module(PROBE, nn.Identity())


def use_open_attention(net: Any) -> None:
    """Let a network of transformers attend through `attend`."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, eager_mask)
    net.config._attn_implementation = NAME


def use_fused_gelu(net: nn.Module) -> None:
    """Let a network compute the tanh form of GELU in one pass over its input.

    The library's own chain of elementary operations takes four times as long on a processor; the two
    agree within rounding (5e-7 at values of order 1).
    """
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                module.register_module(name, nn.GELU(approximate="tanh"))


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Softmax attention; the weights pass through the module's probe.

    The probe sees [rows, queries, heads · keys], so that heads are units and queries positions.

    Args:
        module: The attention module, with a probe.
        query: [rows, heads, queries, width].
        key: [rows, key heads, keys, width]; each serves as many heads as fall to it.
        value: As `key`.
        attention_mask: Added to the scores, [rows, 1, queries, keys].
        scaling: Factor of the scores; width to the power of -1/2 if not given.
        softcap: Bound of the scores, where a model has one.

    Returns:
        [rows, queries, heads, width], and None in place of the weights.
    """
    heads, groups = query.shape[1], key.shape[1]
    # the heads that share keys are more queries of them: no key is copied
    scores = _grouped(query, groups) @ key.transpose(2, 3)
    scores = scores.mul_(query.shape[3] ** -0.5 if scaling is None else scaling)
    scores = _ungrouped(scores, heads)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    flat = module.get_submodule(PROBE)(weights.transpose(1, 2).flatten(2))
    weights = flat.unflatten(2, (heads, -1)).transpose(1, 2)
    read = _ungrouped(_grouped(weights, groups) @ value, heads)
    return read.transpose(1, 2).contiguous(), None


def _grouped(tensor: Tensor, groups: int) -> Tensor:
    """[rows, heads, queries, …] as [rows, key heads, heads of each · queries, …]."""
    grouped: Tensor = tensor.unflatten(1, (groups, -1)).flatten(2, 3)
    return grouped


def _ungrouped(tensor: Tensor, heads: int) -> Tensor:
    """The reverse of `_grouped`."""
    share = heads // tensor.shape[1]
    ungrouped: Tensor = tensor.unflatten(2, (share, -1)).flatten(1, 2)
    return ungrouped
