"""Hooks and borrowed forwards, and the nested containers of tensors that modules take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from vlbias.causal.trace import Point

__all__ = ["copied", "first_tensor", "giving", "has_nan", "hook", "unread", "with_first_tensor"]


def hook(net: nn.Module, point: Point, write: Callable[[Tensor], Tensor]) -> Callable[[], None]:
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


@contextmanager
def giving(module: nn.Module, output: Any) -> Iterator[None]:
    """The module gives `output` instead of running, as long as the context lasts."""
    borrowed = module.__dict__.get("forward")
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if borrowed is None:
            del module.forward
        else:
            module.forward = borrowed


def unread(tensor: Tensor, rows: int) -> Tensor:
    """NaN of the right shape without memory: a value that is read by mistake cannot stay unseen."""
    return tensor.new_full((), torch.nan).expand(rows, *tensor.shape[1:])


def has_nan(tensor: Tensor) -> bool:
    """Whether anything of a tensor is not a number."""
    return tensor.is_floating_point() and bool(tensor.isnan().any())


def copied(value: Any) -> Any:
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
