"""A stage that runs once per distinct input: rows that share an image share its encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from vlbias.causal.call_order import Call
from vlbias.causal.hooks import (
    first_tensor,
    patched_forward,
    select_output_rows,
    select_rows,
    with_first_tensor,
)

__all__ = ["RUNNING", "Distinct"]

RUNNING: ContextVar[Tensor | None] = ContextVar("rows of the batch that run", default=None)
"""Rows of the batch that a stage runs on just now, where it leaves out those that repeat; else None."""


class Distinct:
    """A forward for one module that skips repeated rows and repeats their outputs.

    Args:
        net: The network.
        call: The module's call in the trace; tells which axes of its output count rows.
        rows: Rows of the batch.
    """

    def __init__(self, net: nn.Module, call: Call, rows: int) -> None:
        self.call, self._rows = call, rows
        self._module = net.get_submodule(call.module)
        self.number: tuple[int, ...] | None = None
        self._back: Tensor | None = None

    def patched(self) -> AbstractContextManager[None]:
        """The module runs on distinct rows as long as the context lasts."""
        forward = self._module.forward
        return patched_forward(
            self._module, lambda *args, **kwargs: self._run(forward, args, kwargs)
        )

    def _run(self, forward: Any, args: Any, kwargs: Any) -> Any:
        leaves = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if not leaves or not self._is_countable(leaves):
            return forward(*args, **kwargs)
        self.number = _numbers(leaves, self._rows)
        count = max(self.number) + 1
        if count == self._rows:
            return forward(*args, **kwargs)
        device = leaves[0].device
        first = torch.tensor([self.number.index(i) for i in range(count)], device=device)
        self._back = torch.tensor(self.number, device=device)
        args, kwargs = tree_map(
            lambda leaf: self._selected(leaf, first) if isinstance(leaf, Tensor) else leaf,
            (args, kwargs),
        )
        before = RUNNING.set(first)
        try:
            output = forward(*args, **kwargs)
        finally:
            RUNNING.reset(before)
        return select_output_rows(output, self.call, self._back, count, blank=False)

    def _is_countable(self, leaves: Sequence[Tensor]) -> bool:
        """Whether rows can be told apart in every argument, where a row may have several entries."""
        takes = self.call.takes
        return (
            self.call.rows is not None
            and takes is not None
            and len(takes) == len(leaves)
            and None not in takes
            and all(leaf.shape[0] % self._rows == 0 for leaf in leaves)
        )

    def _selected(self, leaf: Tensor, rows: Tensor) -> Tensor:
        return select_rows(leaf, rows, leaf.shape[0] // self._rows, self._rows)

    def expand(self, outputs: dict[str, Any], inputs: dict[str, Tensor]) -> None:
        """Expand what was recorded inside the module to the rows of the batch, in place."""
        if self._back is None:
            return
        count, inside = int(self._back.max()) + 1, f"{self.call.module}."
        for name in [name for name in outputs if name.startswith(inside)]:
            call = _inside(self.call, name)
            if call is not None and call.rows is not None:
                outputs[name] = select_output_rows(
                    outputs[name], call, self._back, count, blank=False
                )
            else:
                wide = self._expanded(first_tensor(outputs[name]), count)
                outputs[name] = with_first_tensor(outputs[name], wide)
        for name in [name for name in inputs if name.startswith(inside)]:
            inputs[name] = self._expanded(inputs[name], count)

    def _expanded(self, tensor: Tensor, count: int) -> Tensor:
        assert self._back is not None
        return select_rows(tensor, self._back, tensor.shape[0] // count, count)


def _inside(call: Call, module: str) -> Call | None:
    """The call of a module somewhere inside another call."""
    for child in call.children:
        found = child if child.module == module else _inside(child, module)
        if found is not None:
            return found
    return None


def _numbers(leaves: Sequence[Tensor], rows: int) -> tuple[int, ...]:
    """The number of each row's input: equal rows have equal numbers, in order of appearance."""
    seen: dict[bytes, int] = {}
    numbers = []
    for row in range(rows):
        digest = hashlib.sha256()
        for leaf in leaves:
            own = leaf.unflatten(0, (rows, -1))[row]
            digest.update(own.contiguous().flatten().view(torch.uint8).cpu().numpy().data)
        numbers.append(seen.setdefault(digest.digest(), len(seen)))
    return tuple(numbers)
