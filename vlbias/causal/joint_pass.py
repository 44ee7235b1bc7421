"""One joint pass for jobs that enter at different blocks: each weight is read about once for all jobs.

Jobs that entered at an earlier block run through the next block together. Jobs that enter at that
block run only what lies behind their replacement, and then join the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from vlbias.causal.hooks import (
    first_tensor,
    patched_forward,
    register_write_hook,
    replaced_output,
    select_output_rows,
    with_first_tensor,
)
from vlbias.causal.resumption import Resumption, is_inside
from vlbias.causal.staged_model import Encoded, StagedModel, Tower
from vlbias.causal.tape import Tape, checked_output, encode_unrecorded, patch_entry, resumed_batch

__all__ = [
    "EntryJobs",
    "RowBound",
    "arguments_of",
    "can_join",
    "even_parts",
    "is_joint_cheaper",
    "run_joint_pass",
]


@runtime_checkable
class RowBound(Protocol):
    """An argument of a block that is no tensor but has rows of the batch, such as cached keys."""

    def of_rows(self, rows: slice) -> Any:
        """The same of some of the rows."""
        ...


@dataclass(frozen=True)
class EntryJobs:
    """Jobs that continue recorded rows behind one replacement.

    Args:
        plan: Where; inside a block.
        own: The recorded row of each job.
        value: The tensor at the entry point, replacement included, rows of the jobs first.
    """

    plan: Resumption
    own: Tensor
    value: Tensor


def can_join(tower: Tower, tape: Tape, plan: Resumption) -> bool:
    """Whether jobs of this plan can join a joint pass: their block and its input are on the tape."""
    if len(tower.stages) > 1 or plan.block is None:
        return False
    given = {call.module for call in plan.given}
    return set(_before(tower, plan)) <= given & set(tape.outputs)


def is_joint_cheaper(
    tower: Tower, tape: Tape, counts: Sequence[tuple[Resumption, int]], most: int
) -> bool:
    """Whether a joint pass reads weights less often than a pass for each plan.

    Args:
        tower: The tower.
        tape: The recording.
        counts: Plans that can join, and how many jobs each has.
        most: So many jobs run as rows of one batch.
    """
    blocks = tower.stages[0].blocks
    apart = sum(-(-n // most) * (len(blocks) - len(_before(tower, plan))) for plan, n in counts)
    total = sum(n for _, n in counts)
    tokens = tape.batch[tower.causal or ""].shape[1]
    # blocks tell rows from tokens by how many they are
    alike = {1, tokens, tokens - tape.start}
    sizes = [part.stop - part.start for part in even_parts(total, most)]
    return len(sizes) * len(blocks) < apart and not alike & set(sizes)


def even_parts(count: int, most: int) -> Iterator[slice]:
    """Parts of about the same size, none larger than `most`."""
    parts = -(-count // most)
    for part in range(parts):
        yield slice(part * count // parts, (part + 1) * count // parts)


@torch.inference_mode()
def run_joint_pass(
    model: StagedModel,
    tower: Tower,
    tape: Tape,
    entries: Sequence[EntryJobs],
    *,
    narrow: bool = True,
) -> Encoded:
    """The tower's output for the jobs of several entry points, in their order.

    Args:
        model: The model that was recorded.
        tower: The tower that was recorded; one stage.
        tape: The recording; every plan `can_join` with it.
        entries: Jobs of each entry point; those of earlier blocks first.
        narrow: Whether modules of the tail are run on the tape's token of the tail alone.

    Raises:
        BadModel: if a value that was declared unread is read after all.
    """
    first = entries[0].plan
    own = torch.cat([entry.own for entry in entries])
    blocks = tower.stages[0].blocks
    joint = _JointPass(model, tower, tape, entries, narrow and tape.tail is not None)
    with ExitStack() as stack:
        for call in first.given:
            if not (first.block and is_inside(call, first.block)) and call.module not in blocks:
                output = select_output_rows(tape.outputs[call.module], call, own, tape.rows, False)
                stack.enter_context(replaced_output(model.net.get_submodule(call.module), output))
        for name in blocks:
            module = model.net.get_submodule(name)
            forward = partial(joint.run_block, name, module.forward)
            stack.enter_context(patched_forward(module, forward))
        batch = resumed_batch(tape, own, skipped=True)
        encoded = encode_unrecorded(model, tower, tape, batch, own)
    return checked_output(model, tower, tape, first.entry, encoded)


@dataclass
class _JointPass:
    """The state of a joint pass: `entered` counts the rows that have entered so far."""

    model: StagedModel
    tower: Tower
    tape: Tape
    entries: Sequence[EntryJobs]
    narrow: bool
    entered: int = field(default=0, init=False)

    def run_block(self, name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A block's output for the rows that entered before it and those that enter at it."""
        taken = (args, kwargs)
        hidden, parts = first_tensor(taken), []
        if self.entered:
            rows = slice(0, self.entered)
            with ExitStack() as stack:
                self._on_tail(stack, self.tower.stages[0].tail)
                parts.append(_called(forward, self._of_rows(taken, hidden[rows], rows)))
        for entry in self.entries:
            assert entry.plan.block is not None
            if entry.plan.block.module == name:
                rows = slice(self.entered, self.entered + len(entry.own))
                before = self._hidden(entry, hidden, rows)
                given = self._of_rows(taken, before, rows)
                parts.append(self._run_entry_block(name, forward, entry, given))
                self.entered = rows.stop
        if not parts:
            return tree_map(lambda leaf: leaf[:0], self.tape.outputs[name])
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _run_entry_block(
        self, name: str, forward: Callable[..., Any], entry: EntryJobs, taken: Any
    ) -> Any:
        plan, net, tape = entry.plan, self.model.net, self.tape
        block = net.get_submodule(name)
        with ExitStack() as stack:
            stack.enter_context(patched_forward(block, forward))
            for call in plan.given:
                if plan.block is not None and is_inside(call, plan.block):
                    output = select_output_rows(
                        tape.outputs[call.module], call, entry.own, tape.rows, False
                    )
                    stack.enter_context(replaced_output(net.get_submodule(call.module), output))
            patch_entry(stack, net, tape, entry.own, plan, entry.value)
            self._on_tail(stack, plan.narrow)
            return _called(block.forward, taken)

    def _hidden(self, entry: EntryJobs, hidden: Tensor, rows: slice) -> Tensor:
        """The hidden states that the entry's block takes."""
        before = _before(self.tower, entry.plan)
        if not before:
            return hidden[rows]
        call = next(call for call in entry.plan.given if call.module == before[-1])
        output = self.tape.outputs[call.module]
        return first_tensor(select_output_rows(output, call, entry.own, self.tape.rows, False))

    def _on_tail(self, stack: ExitStack, modules: Sequence[str]) -> None:
        if self.narrow and self.tape.tail is not None:
            token = slice(self.tape.tail, self.tape.tail + 1)
            for module in modules:
                stack.callback(
                    register_write_hook(
                        self.model.net, (module, "in"), lambda tensor: tensor[:, token]
                    )
                )

    def _of_rows(self, taken: Any, hidden: Tensor, rows: slice) -> Any:
        """The arguments of a block, for some of all rows."""
        total = sum(len(entry.own) for entry in self.entries)
        return with_first_tensor(arguments_of(taken, rows, total), hidden)


def arguments_of(taken: Any, rows: slice, total: int) -> Any:
    """The arguments of a block for some of all rows.

    Args:
        taken: Its arguments.
        rows: Which.
        total: How many rows there are: tensors of two axes or more that have as many are taken to be of rows.
    """

    def part(leaf: Any) -> Any:
        if isinstance(leaf, RowBound):
            return leaf.of_rows(rows)
        ours = isinstance(leaf, Tensor) and leaf.ndim > 1 and len(leaf) == total
        return leaf[rows] if ours else leaf

    return tree_map(part, taken)


def _before(tower: Tower, plan: Resumption) -> tuple[str, ...]:
    """The blocks before the one that a plan enters."""
    blocks = tower.stages[0].blocks
    assert plan.block is not None
    return blocks[: blocks.index(plan.block.module)]


def _called(forward: Callable[..., Any], taken: Any) -> Any:
    args, kwargs = taken
    return forward(*args, **kwargs)


def _joined(parts: Sequence[Any]) -> Any:
    leaves, spec = zip(*(tree_flatten(part) for part in parts), strict=True)
    joined = [
        torch.cat(column) if isinstance(column[0], Tensor) else column[0]
        for column in zip(*leaves, strict=True)
    ]
    return tree_unflatten(joined, spec[0])
