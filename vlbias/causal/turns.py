"""Threads that use one model take turns: hooks of one would change the passes of another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from weakref import WeakKeyDictionary

from torch import nn

from vlbias.causal.staged_model import StagedModel

__all__ = ["in_turn"]

_LOCKS: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()
_OF_LOCKS = Lock()


@contextmanager
def in_turn(model: StagedModel) -> Iterator[None]:
    """A context that no other thread is in with the same network; a thread may nest it.

    Processes are not kept apart: a forked one has a network of its own.
    """
    with _OF_LOCKS:
        lock = _LOCKS.setdefault(model.net, RLock())
    with lock:
        yield
