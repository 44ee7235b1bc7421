"""Readouts without gradients, unless somebody follows them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["without_gradients"]

P = ParamSpec("P")
T = TypeVar("T")


def without_gradients(function: Callable[P, T]) -> Callable[P, T]:
    """The function in inference mode, unless it is given values whose gradients are followed.

    Screening asks for slopes of a readout; all else runs faster, and keeps less, without them.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        # parameters always have gradients: what counts is what was computed from them
        leaves = tree_leaves((args, kwargs))
        if any(isinstance(leaf, Tensor) and leaf.grad_fn is not None for leaf in leaves):
            return function(*args, **kwargs)
        with torch.inference_mode():
            return function(*args, **kwargs)

    return run
