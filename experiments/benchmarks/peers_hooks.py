"""Plain hooks on the network: one pass per mediator, or many mediators as rows of a batch.

And the approach of Vig et al. (2020), rebuilt for current libraries from how their published code works:
for heads, a pass for each of the two candidates, in which the layer's attention is computed a second
time to put the replaced weights in; for neurons, up to 800 copies of the prompt in a batch, one value
written into each copy in a loop, and logits over the whole vocabulary at all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from language_tasks import (
    HE,
    PLACE,
    SHE,
    Approach,
    Pair,
    Unit,
    Work,
    every_head,
    log_odds,
    neurons,
    some,
)
from torch import Tensor, nn
from transformers import GPT2LMHeadModel

WIDTH = 64


def approaches(net: GPT2LMHeadModel) -> list[Approach]:
    """Those of this file; `net` is left as it is."""
    rows = neurons((3,), 192)
    found = []
    for work in ("heads", "neurons"):
        many = every_head() if work == "heads" else rows
        one = partial(_one_by_one, net, work)
        found += [
            Approach("hooks, one pass each", work, one, 4, some(work), batched=False),
            Approach(
                "hooks, rows of a batch", work, partial(_in_rows, net, work, False), 4, many, True
            ),
            Approach(
                "hooks, rows, last logits", work, partial(_in_rows, net, work, True), 4, many, True
            ),
        ]
    copies = neurons((8,), 768)
    return [
        *found,
        Approach("Vig et al.", "weights", partial(_vig_heads, net), 4, some("weights"), False),
        Approach("Vig et al.", "neurons", partial(_vig_neurons, net), 4, copies, True),
    ]


def site(net: GPT2LMHeadModel, work: Work, layer: int) -> tuple[nn.Module, bool]:
    """The module at which a unit is replaced, and whether in its input."""
    block = net.transformer.h[layer]
    return (block.attn.c_proj, True) if work == "heads" else (block.mlp, False)


def part(work: Work, unit: Unit) -> tuple[slice, slice]:
    """Tokens and channels of a unit."""
    if work == "heads":
        return slice(None), slice(unit.number * WIDTH, (unit.number + 1) * WIDTH)
    return slice(PLACE, PLACE + 1), slice(unit.number, unit.number + 1)


@contextmanager
def changing(
    module: nn.Module, at_input: bool, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Let `change` see and replace a module's first input or its output."""
    if at_input:
        handle = module.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    else:
        handle = module.register_forward_hook(lambda _, __, out: change(out))
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def kept(net: GPT2LMHeadModel, work: Work, pair: Pair) -> dict[int, Tensor]:
    """The other prompt's values of every layer, from one pass."""
    values: dict[int, Tensor] = {}
    handles = []

    def keep(layer: int, tensor: Tensor) -> None:
        values[layer] = tensor.clone()

    for layer in range(len(net.transformer.h)):
        module, at_input = site(net, work, layer)
        if at_input:
            hook: Any = module.register_forward_pre_hook(
                lambda _, args, layer=layer: keep(layer, args[0])
            )
        else:
            hook = module.register_forward_hook(lambda _, __, out, layer=layer: keep(layer, out))
        handles.append(hook)
    net(input_ids=torch.tensor([pair.other]), use_cache=False)
    for handle in handles:
        handle.remove()
    return values


@torch.inference_mode()
def _one_by_one(
    net: GPT2LMHeadModel, work: Work, pairs: Sequence[Pair], units: Sequence[Unit]
) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        values, base = kept(net, work, pair), torch.tensor([pair.base])
        for j, unit in enumerate(units):
            where, value = part(work, unit), values[unit.layer]

            def swap(tensor: Tensor, where: Any = where, value: Tensor = value) -> Tensor:
                tensor = tensor.clone()
                tensor[:, where[0], where[1]] = value[:, where[0], where[1]]
                return tensor

            with changing(*site(net, work, unit.layer), swap):
                logits = net(input_ids=base, use_cache=False).logits
            found[i, j] = log_odds(logits[0, -1])
    return found


@torch.inference_mode()
def _in_rows(
    net: GPT2LMHeadModel, work: Work, last: bool, pairs: Sequence[Pair], units: Sequence[Unit]
) -> Tensor:
    """All heads, or all neurons of a layer, in one batch."""
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        values = kept(net, work, pair)
        for rows in batches(work, units):
            chosen = [units[row] for row in rows]
            ids = torch.tensor([pair.base]).repeat(len(rows), 1)
            handles = []
            for layer in sorted({unit.layer for unit in chosen}):
                write = partial(write_rows, work, layer, chosen, values[layer])
                module, at_input = site(net, work, layer)
                if at_input:
                    handle: Any = module.register_forward_pre_hook(
                        lambda _, args, write=write: (write(args[0]), *args[1:])
                    )
                else:
                    handle = module.register_forward_hook(lambda _, __, out, w=write: w(out))
                handles.append(handle)
            keep = 1 if last else 0
            logits = net(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
            for handle in handles:
                handle.remove()
            found[i, rows] = log_odds(logits[:, -1])
    return found


def batches(work: Work, units: Sequence[Unit]) -> Iterator[list[int]]:
    """All heads together, neurons layer by layer."""
    if work == "heads":
        yield list(range(len(units)))
        return
    for layer in sorted({unit.layer for unit in units}):
        yield [row for row, unit in enumerate(units) if unit.layer == layer]


def write_rows(
    work: Work, layer: int, units: Sequence[Unit], value: Tensor, tensor: Tensor
) -> Tensor:
    """Row r with unit r's value, where it lies in the layer."""
    tensor = tensor.clone()
    for row, unit in enumerate(units):
        if unit.layer == layer:
            tokens, channels = part(work, unit)
            tensor[row, tokens, channels] = value[0, tokens, channels]
    return tensor


@torch.inference_mode()
def _vig_heads(net: GPT2LMHeadModel, pairs: Sequence[Pair], units: Sequence[Unit]) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        for j, unit in enumerate(units):
            attention = net.transformer.h[unit.layer].attn
            seen: list[Tensor] = []
            handle = attention.register_forward_hook(
                lambda m, args, __, seen=seen: seen.append(_weights(m, args[0])[0])
            )
            net(input_ids=torch.tensor([pair.other]), use_cache=False)
            handle.remove()
            length, scores = len(pair.base), []
            for word in (HE, SHE):
                handle = attention.register_forward_hook(
                    lambda m, args, _, u=unit, s=seen, n=length: (
                        _replaced(m, args[0], s[0], u.number, n),
                        None,
                    )
                )
                logits = net(input_ids=torch.tensor([[*pair.base, word]]), use_cache=False).logits
                handle.remove()
                scores.append(logits[0, length - 1].log_softmax(-1)[word])
            found[i, j] = scores[1] - scores[0]
    return found


def _weights(attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    query, key, value = (
        part.unflatten(2, (12, WIDTH)).transpose(1, 2)
        for part in attention.c_attn(hidden).split(768, 2)
    )
    scores = query @ key.transpose(2, 3) / WIDTH**0.5
    future = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(-1), value


def _replaced(attention: Any, hidden: Tensor, other: Tensor, head: int, length: int) -> Tensor:
    weights, value = _weights(attention, hidden)
    weights[:, head, :length, :length] = other[:, head]
    return attention.c_proj((weights @ value).transpose(1, 2).flatten(2))


@torch.inference_mode()
def _vig_neurons(net: GPT2LMHeadModel, pairs: Sequence[Pair], units: Sequence[Unit]) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        values = kept(net, "neurons", pair)
        for rows in batches("neurons", units):
            for start in range(0, len(rows), 800):
                copies = rows[start : start + 800]
                chosen = [units[row] for row in copies]
                layer = chosen[0].layer
                write = partial(write_rows, "neurons", layer, chosen, values[layer])
                with changing(*site(net, "neurons", layer), write):
                    ids = torch.tensor([pair.base]).repeat(len(copies), 1)
                    logits = net(input_ids=ids, use_cache=False).logits[:, -1]
                scores = logits.log_softmax(-1)
                found[i, copies] = scores[:, SHE] - scores[:, HE]
    return found
