"""The order in which a forward pass calls its modules, and which of them a replacement can spare.

Traced once per tower on two and on three rows: the structure is static, and comparing the two tells
which axis of an output counts rows (Swin's windows: four times as many) and which does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from vlbias.causal.staged_model import Tower
from vlbias.errors import StageCallError

__all__ = ["Call", "Point", "Trace", "trace"]

Point = tuple[str, Literal["in", "out"]]
"""A place where a value can be replaced: a module's first input, or its output."""


@dataclass(eq=False)
class Call:
    """One call of a module: when it was entered and left, what it called, what it gave back."""

    module: str
    enter: int
    exit: int = -1
    parent: Call | None = None
    children: list[Call] = field(default_factory=list)
    rows: tuple[int | None, ...] | None = None
    # rows[i]: rows of output leaf i per input row, None if it does not depend on the rows;
    # None altogether if the output holds something that cannot be given back
    carries: str | None = None  # the child whose output this module returns untouched
    tensors: int = 0  # positional and keyword tensor arguments
    takes: tuple[int | None, ...] | None = None  # as `rows`, of these arguments
    collected: bool = False  # a hook collects what modules inside it give: it has to run


@dataclass(frozen=True)
class Trace:
    """The calls of one tower's forward pass, as a tree."""

    root: Call
    calls: dict[str, list[Call]]

    def once(self, module: str, model: str) -> Call:
        """The only call of a module.

        Raises:
            StageCallError: if it was called more than once, or never.
        """
        calls = self.calls.get(module, [])
        if len(calls) != 1:
            raise StageCallError(model, module, len(calls))
        return calls[0]

    def moment(self, point: Point, model: str) -> int:
        """When, in order of calls, the value at a point comes into being."""
        call = self.once(point[0], model)
        return call.enter if point[1] == "in" else call.exit

    def completed(self, point: Point, idle: frozenset[str], model: str) -> Iterator[Call]:
        """The outermost calls whose results a replacement at `point` leaves as they were.

        Args:
            point: Where the first replacement happens.
            idle: Modules of stages that no replacement can reach.
            model: Name for error messages.
        """
        moment = self.moment(point, model)

        def walk(call: Call) -> Iterator[Call]:
            for child in call.children:
                spared = child.exit < moment or child.module in idle
                once = len(self.calls[child.module]) == 1
                if spared and child.rows is not None and once and not child.collected:
                    yield child
                else:
                    yield from walk(child)

        yield from walk(self.root)


def trace(net: nn.Module, tower: Tower, run: Callable[[int], Any], model: str) -> Trace:
    """The calls of `run(rows)` for a few rows.

    Args:
        net: The network whose modules are watched.
        tower: Its stages and blocks must each be called exactly once.
        run: Runs the tower on so many rows.
        model: Name for error messages.

    Raises:
        StageCallError: if a stage or block is not called exactly once.
    """
    few, more = (_watch(net, partial(run, rows)) for rows in (2, 3))
    for name, listed in few.calls.items():
        if len(listed) != len(more.calls.get(name, ())):
            continue  # it is called once for every row: nothing of it can be given back
        for n, call in enumerate(listed):
            call.rows = _rows(few.given[name][n], more.given[name][n])
            call.takes = _rows(few.taken[name][n], more.taken[name][n])
    result = Trace(few.root, few.calls)
    for stage in tower.stages:
        for module in (stage.module, *stage.blocks):
            result.once(module, model)
        for module in stage.called:
            _mark_collected(result.once(module, model).parent, stage.module)
    return result


def _mark_collected(call: Call | None, stage: str) -> None:
    """Let everything between a stage and a module whose output is collected run."""
    while call is not None and call.module != stage:
        call.collected, call = True, call.parent


_Sizes = dict[str, list[list[torch.Size | None] | None]]


@dataclass(frozen=True)
class _Watched:
    """The calls of one pass, and by module the sizes of what each took and gave."""

    root: Call
    calls: dict[str, list[Call]]
    taken: _Sizes
    given: _Sizes


def _watch(net: nn.Module, run: Callable[[], Any]) -> _Watched:
    root = Call("", 0)
    seen = _Watched(root, {}, {}, {})
    stack = [root]
    returned: dict[str, Tensor] = {}
    clock = 0

    def enter(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal clock
        clock += 1
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        call = Call(name, clock, parent=stack[-1], tensors=len(tensors))
        stack[-1].children.append(call)
        seen.calls.setdefault(name, []).append(call)
        seen.taken.setdefault(name, []).append(_sizes(tensors))
        stack.append(call)

    def leave(name: str, output: Any) -> None:
        nonlocal clock
        clock += 1
        call, leaves = stack.pop(), tree_flatten(output)[0]
        call.exit = clock
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        seen.given.setdefault(name, []).append(_sizes(leaves))
        if len(tensors) == 1:
            for child in call.children:
                if returned.get(child.module) is tensors[0]:
                    call.carries = child.module
            returned[name] = tensors[0]

    with ExitStack() as hooks, torch.inference_mode():
        for name, module in net.named_modules():
            if name:
                hooks.callback(
                    module.register_forward_pre_hook(
                        lambda _, a, k, name=name: enter(name, a, k), with_kwargs=True, prepend=True
                    ).remove
                )
                hooks.callback(
                    module.register_forward_hook(
                        lambda _, __, out, name=name: leave(name, out)
                    ).remove
                )
        run()
    root.exit = clock + 1
    return seen


def _sizes(leaves: Sequence[Any]) -> list[torch.Size | None] | None:
    if not all(isinstance(leaf, Tensor | int | float | bool | str | None) for leaf in leaves):
        return None
    return [leaf.shape if isinstance(leaf, Tensor) and leaf.ndim else None for leaf in leaves]


def _rows(
    small: list[torch.Size | None] | None, large: list[torch.Size | None] | None
) -> tuple[int | None, ...] | None:
    if small is None or large is None or len(small) != len(large):
        return None
    rows: list[int | None] = []
    for a, b in zip(small, large, strict=True):
        if a is None or b is None or a == b:
            rows.append(None)
        # rows that lie on another axis cannot be picked out: the module has to run again
        elif a[1:] == b[1:] and (b[0] - a[0]) * 2 == a[0]:
            rows.append(b[0] - a[0])
        else:
            return None
    return tuple(rows)
