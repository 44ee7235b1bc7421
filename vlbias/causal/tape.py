"""Record one forward pass, then resume it behind a replacement; the net is always left as found.

A resumed pass runs the model's own, untouched forward. Modules that finished before the first
replacement return their recorded output, and so do stages that no replacement can reach; only the
rest is executed. Rows of a resumed pass are jobs. Each names the recorded row that it continues, so
one recorded row may continue many times, once per mediator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from vlbias.causal.call_order import Call, Point, Trace
from vlbias.causal.distinct import Distinct
from vlbias.causal.hooks import (
    cloned,
    first_tensor,
    has_nan,
    nan_rows,
    register_write_hook,
    replaced_output,
    select_output_rows,
    select_rows,
    with_first_tensor,
)
from vlbias.causal.resumption import Resumption
from vlbias.causal.staged_model import Batch, CausalModel, Encoded, StagedModel, Tower
from vlbias.errors import BadModel

__all__ = [
    "PointPatch",
    "Tape",
    "checked_output",
    "encode_unrecorded",
    "patch_entry",
    "record",
    "resume",
    "resumed_batch",
]


@dataclass(frozen=True)
class Tape:
    """A recording of one forward pass; its tensors are copies, since callers mutate what modules return.

    A tape of a causal tower may hold the tokens from `start` to before `end` only, and then the `past`
    they read. `tail` is the token that `Stage.tail` is run on, None if that is more than one.
    `alike` has, for modules that ran once per distinct input, the number of each row's input.
    """

    batch: Batch
    encoded: Encoded
    outputs: dict[str, Any]
    inputs: dict[str, Tensor]
    past: Any = None
    start: int = 0
    end: int | None = None
    tail: int | None = 0
    alike: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def at(self, point: Point) -> Tensor:
        """The tensor at a point, rows first."""
        module, slot = point
        return self.inputs[module] if slot == "in" else first_tensor(self.outputs[module])

    @property
    def is_cut(self) -> bool:
        """Whether tokens were left off."""
        return bool(self.start) or self.end is not None

    @property
    def rows(self) -> int:
        """How many rows were recorded."""
        return next(iter(self.batch.values())).shape[0]

    def rows_at(self, point: Point, index: Tensor) -> Tensor:
        """Copies of the rows `index` of the tensor at a point; windows of a row stay together."""
        return select_rows(self.at(point), index, self.at(point).shape[0] // self.rows, self.rows)


@dataclass(frozen=True)
class PointPatch:
    """A replacement at a point behind the entry, made while the resumed pass runs.

    Args:
        point: Where.
        write: Gets the (first) tensor there and returns the new one.
        whole: Jobs, and the recorded rows that they take all other tensors of an output from.
    """

    point: Point
    write: Callable[[Tensor], Tensor]
    whole: tuple[Tensor, Tensor] | None = None


@torch.inference_mode()
def record(
    model: StagedModel,
    tower: Tower,
    batch: Batch,
    *,
    outputs: Collection[str] = (),
    inputs: Collection[str] = (),
    traced: Trace | None = None,
) -> Tape:
    """One forward pass, with copies of the named modules' outputs and first inputs.

    Given the trace of a tower of several stages, those that read inputs only run once per distinct
    input: an image that is seen with two texts is encoded once.
    """
    seen_out: dict[str, Any] = {}
    seen_in: dict[str, Tensor] = {}
    rows = next(iter(batch.values())).shape[0]
    shared = []
    with ExitStack() as hooks:
        for call in _reading_inputs(tower, traced, model.name):
            shared.append(Distinct(model.net, call, rows))
            hooks.enter_context(shared[-1].patched())
        for name in outputs:

            def keep(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
                seen_out[name] = cloned(output)

            hooks.callback(model.net.get_submodule(name).register_forward_hook(keep).remove)
        for name in inputs:

            def note(_: nn.Module, args: tuple[Any, ...], kw: Any, name: str = name) -> None:
                seen_in[name] = cloned(first_tensor((args, kw)))

            module = model.net.get_submodule(name)
            hooks.callback(module.register_forward_pre_hook(note, with_kwargs=True).remove)
        encoded = cloned(model.encode(tower.name, batch))
    for one in shared:
        one.expand(seen_out, seen_in)
    alike = {one.call.module: one.number for one in shared if one.number is not None}
    return Tape(batch, encoded, seen_out, seen_in, alike=alike)


def _reading_inputs(tower: Tower, traced: Trace | None, model: str) -> list[Call]:
    """The calls of stages that read inputs only, where rows may share an input but not the other."""
    if traced is None or len(tower.stages) == 1:
        return []
    return [traced.once(stage.module, model) for stage in tower.stages if not stage.parents]


@torch.inference_mode()
def resume(
    model: StagedModel,
    tower: Tower,
    tape: Tape,
    own: Tensor,
    plan: Resumption,
    value: Tensor,
    rest: Tensor,
    patches: Sequence[PointPatch] = (),
    *,
    narrow: bool = True,
) -> Encoded:
    """The tower's output for jobs that continue recorded rows behind a replacement.

    Args:
        model: The model that was recorded.
        tower: The tower that was recorded.
        tape: The recording; holds `plan.outputs`.
        own: The recorded row [R] that each job continues.
        plan: Where the replacement enters.
        value: The tensor at the entry point, replacement included, rows of the jobs first.
        rest: The recorded row [R] from which a job takes whatever else the entry's module returns.
        patches: Replacements further on.
        narrow: Whether modules of the tail are run on the tape's token of the tail alone.

    Raises:
        BadModel: if a value that was declared unread is read after all.
    """
    batch = resumed_batch(tape, own, skipped=bool(plan.given))
    with ExitStack() as stack:
        for call in plan.given:
            blank = call.module in plan.unread
            output = select_output_rows(tape.outputs[call.module], call, own, tape.rows, blank)
            stack.enter_context(replaced_output(model.net.get_submodule(call.module), output))
        patch_entry(stack, model.net, tape, rest, plan, value)
        if narrow and tape.tail is not None and not patches:
            token = slice(tape.tail, tape.tail + 1)
            for module in plan.narrow:
                stack.callback(
                    register_write_hook(model.net, (module, "in"), lambda tensor: tensor[:, token])
                )
        for patch in patches:
            stack.callback(register_write_hook(model.net, patch.point, patch.write))
            if patch.whole is not None:
                stack.callback(_hook_rest(model.net, tape, patch.point[0], *patch.whole))
        encoded = encode_unrecorded(model, tower, tape, batch, own)
    return checked_output(model, tower, tape, plan.entry, encoded)


def resumed_batch(tape: Tape, own: Tensor, *, skipped: bool) -> Batch:
    """The batch of jobs that continue the recorded rows `own`; inputs of skipped modules are NaN."""
    return {
        key: nan_rows(tensor, len(own))
        if skipped and tensor.is_floating_point()
        else tensor.index_select(0, own)
        for key, tensor in tape.batch.items()
    }


def encode_unrecorded(
    model: StagedModel, tower: Tower, tape: Tape, batch: Batch, own: Tensor
) -> Encoded:
    """The tower's output for a batch of jobs; tokens that the tape leaves off come from its `past`."""
    if tape.start:
        causal = cast(CausalModel, model)
        return cloned(causal.continued(tower.name, batch, tape.past, own, tape.start))
    return cloned(model.encode(tower.name, batch))


def checked_output(
    model: StagedModel, tower: Tower, tape: Tape, entry: Point, encoded: Encoded
) -> Encoded:
    """The output of a resumed pass, unchanged.

    Raises:
        BadModel: if a value that was declared unread was read after all.
    """
    leaves = [leaf for leaf in tree_flatten(encoded)[0] if isinstance(leaf, Tensor)]
    before = [leaf for leaf in tree_flatten(tape.encoded)[0] if isinstance(leaf, Tensor)]
    if any(has_nan(leaf) for leaf in leaves) and not any(has_nan(leaf) for leaf in before):
        raise BadModel(
            f"{model.name}: resuming {tower.name} behind {entry[0]!r} read a value that was declared "
            "unread. Remove `blocks` from the stage if its blocks' outputs are read elsewhere; a "
            "replacement that overflows gives this error too."
        )
    return encoded


def patch_entry(
    stack: ExitStack,
    net: nn.Module,
    tape: Tape,
    rest: Tensor,
    plan: Resumption,
    value: Tensor,
) -> None:
    """Let the net give `value` at the entry as long as the stack lasts; arguments as those of `resume`."""
    module, slot = plan.entry
    if slot == "in" and not plan.direct:
        stack.callback(register_write_hook(net, plan.entry, lambda _: value))
        return
    result = first_tensor(net.get_submodule(module)(value)) if slot == "in" else value
    output = select_output_rows(
        tape.outputs[plan.carrier.module], plan.carrier, rest, tape.rows, blank=False
    )
    stack.enter_context(
        replaced_output(net.get_submodule(plan.carrier.module), with_first_tensor(output, result))
    )


def _hook_rest(
    net: nn.Module, tape: Tape, name: str, jobs: Tensor, donor: Tensor
) -> Callable[[], None]:
    def after(_: nn.Module, __: Any, output: Any) -> Any:
        leaves, spec = tree_flatten(output)
        for i, recorded in enumerate(tree_flatten(tape.outputs[name])[0]):
            if isinstance(recorded, Tensor) and leaves[i].shape[1:] == recorded.shape[1:]:
                leaves[i] = leaves[i].clone()
                leaves[i][jobs] = recorded[donor]
        return tree_unflatten(leaves, spec)

    return net.get_submodule(name).register_forward_hook(after, prepend=True).remove
