"""Rows of a causal tower that share their beginning: only what stands behind it is run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from vlbias.causal.resumption import Resumption
from vlbias.causal.staged import CausalModel, StagedModel, Tower
from vlbias.causal.tape import Tape

__all__ = ["narrowed", "views"]


def views(
    model: StagedModel, tower: Tower, tape: Tape, own: Tensor, donor: Tensor
) -> Iterator[tuple[Tape, Tensor]]:
    """The tape, cut at the first token in which the rows of a pair differ, and which pairs it serves.

    Before that token the two rows have the same values everywhere, so that nothing can be replaced there.

    Args:
        model: A `CausalModel`.
        tower: A tower with `causal`.
        tape: A recording of whole rows.
        own: Row of each pair, [P].
        donor: The row it takes a value from, [P].

    Yields:
        A tape and a mask [P] of pairs; every pair is served once.
    """
    assert tower.causal is not None
    ids = tape.batch[tower.causal]
    differ = ids[own] != ids[donor]
    starts = differ.long().argmax(1)  # 0 where nothing differs: then the tape is not cut
    if not bool(starts.any()):
        yield tape, torch.ones_like(own, dtype=torch.bool)
        return
    past = cast(CausalModel, model).past(tower.name, tape.batch)
    for start in starts.unique().tolist():
        yield (_behind(tape, ids.shape, start, past) if start else tape), starts == start


def narrowed(plan: Resumption, tape: Tape) -> Resumption:
    """The plan for a tape that was cut: what could not be cut runs again."""
    if not tape.start:
        return plan
    given = tuple(call for call in plan.given if call.module in tape.outputs)
    return replace(plan, given=given)


def _behind(tape: Tape, shape: torch.Size, start: int, past: Any) -> Tape:
    outputs = {}
    for name, output in tape.outputs.items():
        leaves, spec = tree_flatten(output)
        cut = [_cut(leaf, shape, start) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        if all(
            leaf is not None or before is None for leaf, before in zip(cut, leaves, strict=True)
        ):
            outputs[name] = tree_unflatten(cut, spec)
    inputs = {name: _cut(tensor, shape, start) for name, tensor in tape.inputs.items()}
    kept = {name: tensor for name, tensor in inputs.items() if tensor is not None}
    return replace(tape, outputs=outputs, inputs=kept, past=past, start=start)


def _cut(tensor: Tensor, shape: torch.Size, start: int) -> Tensor | None:
    """The tokens from `start` on of [rows or 1, tokens, width] or [rows · tokens, width]; else None."""
    rows, tokens = shape
    cut: Tensor | None = None
    if tensor.ndim == 3 and tensor.shape[0] in (1, rows) and tensor.shape[1] == tokens:
        cut = tensor[:, start:]
    elif tensor.ndim == 2 and tensor.shape[0] == rows * tokens:
        cut = tensor.unflatten(0, (rows, tokens))[:, start:].flatten(0, 1)
    return cut
