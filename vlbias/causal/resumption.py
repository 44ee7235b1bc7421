"""How a recorded pass is resumed behind a replacement: what is given back, and what runs again."""

from __future__ import annotations

from dataclasses import dataclass

from vlbias.causal.call_order import Call, Point, Trace
from vlbias.causal.staged_model import Tower

__all__ = ["Resumption", "is_inside", "plan_resumption"]


@dataclass(frozen=True)
class Resumption:
    """How a pass is resumed behind one entry point.

    Args:
        entry: The first replaced point.
        given: Calls whose recorded output is given back.
        unread: Those of them that only other given calls read: their values need not be copied.
        carrier: The outermost module that returns the entry module's output untouched.
        direct: Whether the entry module can be called on its new input alone.
        narrow: Modules that are run on one token alone, see `Stage.tail`.
        block: The block that holds the entry, if one does.
    """

    entry: Point
    given: tuple[Call, ...]
    unread: frozenset[str]
    carrier: Call
    direct: bool
    narrow: tuple[str, ...] = ()
    block: Call | None = None

    @property
    def outputs(self) -> set[str]:
        """Modules whose output must be on the tape."""
        return {call.module for call in self.given} | {self.carrier.module}


def plan_resumption(
    traced: Trace, tower: Tower, entry: Point, stage: str, model: str
) -> Resumption:
    """How to resume behind `entry`, which lies in `stage`.

    Raises:
        StageCallError: if the entry's module is not called exactly once.
    """
    reached = {stage}
    for other in tower.stages:
        if reached & set(other.parents):
            reached.add(other.name)
    idle = frozenset(other.module for other in tower.stages if other.name not in reached)
    carrier = traced.once(entry[0], model)
    direct = entry[1] == "in" and carrier.tensors == 1 and carrier.rows is not None
    if direct or entry[1] == "out":
        while (
            (parent := carrier.parent) is not None
            and parent.carries == carrier.module
            and not parent.collected
            and len(traced.calls[parent.module]) == 1
        ):
            carrier = parent
    given = tuple(
        call for call in traced.completed(entry, idle, model) if not is_inside(call, carrier)
    )
    names = {call.module for call in given}
    unread = frozenset(
        block
        for other in tower.stages
        for block, after in zip(other.blocks, other.blocks[1:], strict=False)
        if block in names and after in names
    )
    moment = traced.moment(entry, model)
    narrow = tuple(
        module
        for other in tower.stages
        for module in other.tail
        if traced.once(module, model).enter > moment and module != carrier.module
    )
    block = _block_of(carrier, tower)
    if entry[1] == "in" and block is not None and block.module == entry[0]:
        block = None
    return Resumption(entry, given, unread, carrier, direct, narrow, block)


def _block_of(call: Call | None, tower: Tower) -> Call | None:
    blocks = {block for stage in tower.stages for block in stage.blocks}
    while call is not None and call.module not in blocks:
        call = call.parent
    return call


def is_inside(call: Call | None, outer: Call) -> bool:
    """Whether a call is the outer one, or is made by it."""
    while call is not None and call is not outer:
        call = call.parent
    return call is outer
