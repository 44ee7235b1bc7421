"""Readouts without gradients, unless somebody follows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["followed_gradients", "without_gradients"]

P = ParamSpec("P")
T = TypeVar("T")

_FOLLOWED: ContextVar[bool] = ContextVar("followed", default=False)


@contextmanager
def followed_gradients() -> Iterator[None]:
    """Within it, readouts keep their gradients: screening asks for slopes of a readout."""
    token = _FOLLOWED.set(True)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _FOLLOWED.reset(token)


def without_gradients(function: Callable[P, T]) -> Callable[P, T]:
    """The function in inference mode, unless gradients are followed: it runs faster, and keeps less."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if _FOLLOWED.get():
            return function(*args, **kwargs)
        with torch.inference_mode():
            return function(*args, **kwargs)

    return run
