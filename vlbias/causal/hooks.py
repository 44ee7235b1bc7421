"""Hooks and patched forwards, and the nested containers of tensors that modules take and return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from vlbias.causal.call_order import Call, Point
from vlbias.causal.staged_model import Encoded

__all__ = [
    "cloned",
    "first_tensor",
    "has_nan",
    "nan_rows",
    "patched_forward",
    "register_write_hook",
    "replaced_output",
    "select_output_rows",
    "select_rows",
    "tree_copy_rows_",
    "tree_fill_nan_",
    "tree_index_put_",
    "tree_index_select",
    "with_first_tensor",
]


def register_write_hook(
    net: nn.Module, point: Point, write: Callable[[Tensor], Tensor]
) -> Callable[[], None]:
    """Let `write` change the first tensor at a point; gives back how to remove the hook."""
    module, slot = net.get_submodule(point[0]), point[1]
    if slot == "in":

        def before(_: nn.Module, args: Any, kwargs: Any) -> Any:
            return with_first_tensor((args, kwargs), write(first_tensor((args, kwargs))))

        return module.register_forward_pre_hook(before, with_kwargs=True).remove

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        return with_first_tensor(output, write(first_tensor(output)))

    # first of all hooks: a library that collects outputs by hooks must see the new value
    return module.register_forward_hook(after, prepend=True).remove


def replaced_output(module: nn.Module, output: Any) -> AbstractContextManager[None]:
    """The module returns `output` instead of running, as long as the context lasts."""
    return patched_forward(module, lambda *_, **__: output)


@contextmanager
def patched_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """The module runs another forward, as long as the context lasts."""
    earlier = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if earlier is None:
            del module.forward
        else:
            module.forward = earlier


def nan_rows(tensor: Tensor, rows: int) -> Tensor:
    """NaN of the right shape without memory: a value that is read by mistake cannot stay unseen."""
    return tensor.new_full((), torch.nan).expand(rows, *tensor.shape[1:])


def has_nan(tensor: Tensor) -> bool:
    """Whether anything of a tensor is not a number."""
    return tensor.is_floating_point() and bool(tensor.isnan().any())


def cloned(value: Any) -> Any:
    """A copy with tensors of its own: callers change what modules return."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, value)


def first_tensor(value: Any) -> Tensor:
    """The first tensor of nested containers."""
    return next(leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, Tensor))


def with_first_tensor(value: Any, tensor: Tensor) -> Any:
    """The containers with another first tensor."""
    leaves, spec = tree_flatten(value)
    place = next(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
    return tree_unflatten([*leaves[:place], tensor, *leaves[place + 1 :]], spec)


def select_output_rows(output: Any, call: Call, own: Tensor, rows: int, blank: bool) -> Any:
    """A module's output for the recorded rows `own`.

    Args:
        output: As it was recorded.
        call: Tells which axes count rows.
        own: Row of the recording for each new row.
        rows: How many rows were recorded.
        blank: Give NaN of the right shape: nothing reads the values.
    """
    leaves, spec = tree_flatten(output)
    assert call.rows is not None
    picked = [
        leaf
        if factor is None or not isinstance(leaf, Tensor)
        else nan_rows(leaf, len(own) * leaf.shape[0] // rows)
        if blank and leaf.is_floating_point()
        else select_rows(leaf, own, leaf.shape[0] // rows, rows)
        for leaf, factor in zip(leaves, call.rows, strict=True)
    ]
    return tree_unflatten(picked, spec)


def select_rows(tensor: Tensor, index: Tensor, factor: int, rows: int) -> Tensor:
    """The rows `index` of a tensor in which each of `rows` rows has `factor` entries."""
    picked: Tensor = tensor.unflatten(0, (rows, factor)).index_select(0, index)
    return picked.flatten(0, 1)


def tree_index_select(encoded: Encoded, index: Tensor) -> Encoded:
    """The rows `index` of a tower's output."""
    return tree_map(lambda leaf: leaf.index_select(0, index), encoded)


def tree_index_put_(encoded: Encoded, index: Tensor | tuple[Tensor, ...], value: Encoded) -> None:
    """Set the entries at `index`, in place."""
    for old, new in zip(tree_flatten(encoded)[0], tree_flatten(value)[0], strict=True):
        old[index] = new


def tree_copy_rows_(encoded: Encoded, places: Mapping[int, int], source: Encoded) -> None:
    """Set rows to rows of `source`, in place; `places` maps the one to the other."""
    for old, given in zip(tree_flatten(encoded)[0], tree_flatten(source)[0], strict=True):
        if places:
            old[list(places)] = given[list(places.values())]


def tree_fill_nan_(encoded: Encoded, where: Tensor) -> None:
    """Set the rows `where` to NaN, in place."""
    for leaf in tree_flatten(encoded)[0]:
        leaf[where] = torch.nan
