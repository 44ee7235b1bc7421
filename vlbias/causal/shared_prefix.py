"""Rows of a causal tower that share their beginning: only what stands behind it, and is read, runs again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from vlbias.causal.patching import PatchTarget, Tokens
from vlbias.causal.resumption import Resumption
from vlbias.causal.staged_model import Batch, CausalModel, Port, StagedModel, Tower
from vlbias.causal.tape import Tape

__all__ = ["first_replaced", "narrowed", "views"]

_SHORT = 8
"""A beginning is short that holds less than one of so many tokens."""


def views(
    model: StagedModel,
    tower: Tower,
    tape: Tape,
    own: Tensor,
    donor: Tensor,
    replaced: Tensor | None = None,
) -> Iterator[tuple[Tape, Tensor]]:
    """The tape, cut to the tokens that a replacement can change, and which pairs it serves.

    Before the first token in which the two rows differ they have the same values everywhere, so that
    nothing can be replaced there; before the first token at which anything is replaced, a row keeps its
    own values; behind the last token that is read nothing matters.

    Args:
        model: A `CausalModel`.
        tower: A tower with `causal`.
        tape: A recording of whole rows.
        own: Row of each pair, [P].
        donor: The row it takes a value from, [P].
        replaced: The first token of each row at which anything is replaced, [rows]; 0 if not given.

    Yields:
        A tape and a mask [P] of pairs; every pair is served once.
    """
    assert tower.causal is not None
    ids = tape.batch[tower.causal]
    first, last = _read(tower, tape)
    ends = torch.maximum(last[own], last[donor]) + 1
    differ = (ids[own] != ids[donor]).long()
    starts = differ.argmax(1)  # 0 where nothing differs
    if replaced is not None:
        starts = torch.maximum(starts, replaced[own])
    starts = torch.minimum(starts, ends - 1)
    if tower.begins is not None:
        starts = _last_before(tape.batch[tower.begins][own], starts)
        # what earlier tokens pass on takes a whole pass to get: a short beginning is run again
        starts = torch.where(starts * _SHORT < ends, 0, starts)
    one = first[own] + 1 == ends
    past = None
    if bool(starts.any()):
        # rows hold their images at places of their own: no end is before or behind all of them
        end = ids.shape[1] if tower.begins is not None else int(starts.max())
        begun = _tokens_before(tape.batch, tower, end)
        past = cast(CausalModel, model).past(tower.name, begun)
    kinds = torch.stack([starts, ends, one], 1)
    for kind in kinds.unique(dim=0):
        start, end, alone = kind.tolist()
        view = _between(tape, tower, start, end, model.ports)
        tail = end - start - 1 if alone else None
        yield replace(view, past=past if start else None, tail=tail), (kinds == kind).all(1)


def _last_before(mask: Tensor, places: Tensor) -> Tensor:
    """The last place of each row's mask [P, tokens] that is not behind a place [P]; 0 if there is none."""
    tokens = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(mask & (tokens <= places[:, None]), tokens, 0).amax(1)


def first_replaced(
    tower: Tower, tape: Tape, targets: Mapping[str, Sequence[PatchTarget]]
) -> Tensor | None:
    """The first token of each row at which any mediator replaces anything, [rows]; None if it may be any.

    Args:
        tower: A tower with `causal`.
        tape: A recording of whole rows.
        targets: Mediator name to its targets.
    """
    sites = {}
    apart = {stage.name for stage in tower.stages if stage.apart}
    for target in (target for some in targets.values() for target in some):
        if not target.site.positions or target.site.stage in apart:
            return None
        sites[target.length, target.site.positions] = target.site
    ids = tape.batch[tower.causal or ""]
    firsts = []
    for (length, _), site in sites.items():
        lengths = () if length is None else (length,)
        mask = Tokens.of(tower, tape.batch, lengths).mask(site, length, ids[:, :, None])
        firsts.append(mask.expand(len(ids), -1).long().argmax(1))
    return torch.stack(firsts).amin(0)


def _read(tower: Tower, tape: Tape) -> tuple[Tensor, Tensor]:
    """The first and the last token [rows] that is read from each row's output."""
    ids = tape.batch[tower.causal or ""]
    if tower.reads is None:
        rows = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
        return rows, rows + ids.shape[1] - 1
    at = tape.batch[tower.reads]
    return at.amin(1), at.amax(1)


def narrowed(plan: Resumption, tape: Tape) -> Resumption:
    """The plan for a tape that was cut: what could not be cut runs again."""
    if not tape.is_cut:
        return plan
    given = tuple(call for call in plan.given if call.module in tape.outputs)
    return replace(plan, given=given)


def _between(tape: Tape, tower: Tower, start: int, end: int, ports: Sequence[Port]) -> Tape:
    """The tape with the tokens from `start` to before `end`."""
    shape = tape.batch[tower.causal or ""].shape
    if (start, end) == (0, shape[1]):
        return tape
    attending = {
        port.path(layer): port.units_at(layer)
        for port in ports
        for layer in range(port.layers or 1)
        if port.keys
    }
    outputs = {}
    for name, output in tape.outputs.items():
        if _is_apart(name, tower):
            outputs[name] = output
            continue
        leaves, spec = tree_flatten(output)
        cut = [
            _cut(leaf, shape, start, end) if isinstance(leaf, Tensor) else leaf for leaf in leaves
        ]
        if all(
            leaf is not None or before is None for leaf, before in zip(cut, leaves, strict=True)
        ):
            outputs[name] = tree_unflatten(cut, spec)
        if name in attending:
            heads = tree_unflatten(cut, spec).unflatten(-1, (attending[name], -1))
            outputs[name] = heads[..., :end].flatten(-2)
    inputs = {
        name: tensor if _is_apart(name, tower) else _cut(tensor, shape, start, end)
        for name, tensor in tape.inputs.items()
    }
    kept = {name: tensor for name, tensor in inputs.items() if tensor is not None}
    # what stands before `start` is still needed to count positions
    batch = _tokens_before(tape.batch, tower, end)
    return replace(tape, batch=batch, outputs=outputs, inputs=kept, start=start, end=end)


def _is_apart(module: str, tower: Tower) -> bool:
    """Whether a module lies in a stage whose tokens are its own."""
    return any(
        module == stage.module or module.startswith(f"{stage.module}.")
        for stage in tower.stages
        if stage.apart
    )


def _tokens_before(batch: Batch, tower: Tower, end: int) -> Batch:
    """The batch with what it says of the tokens before `end` only."""
    shape = batch[tower.causal or ""].shape
    return {
        key: tensor[:, :end] if tensor.shape == shape and key != tower.reads else tensor
        for key, tensor in batch.items()
    }


def _cut(tensor: Tensor, shape: torch.Size, start: int, end: int) -> Tensor | None:
    """Some tokens of [rows or 1, tokens, width] or [rows · tokens, width]; else None."""
    rows, tokens = shape
    cut: Tensor | None = None
    if tensor.ndim == 3 and tensor.shape[0] in (1, rows) and tensor.shape[1] == tokens:
        cut = tensor[:, start:end]
    elif tensor.ndim == 2 and tensor.shape[0] == rows * tokens:
        cut = tensor.unflatten(0, (rows, tokens))[:, start:end].flatten(0, 1)
    return cut
