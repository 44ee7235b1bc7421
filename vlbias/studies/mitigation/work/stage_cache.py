"""Outputs of stages, kept by their inputs: on the very same input a stage does not run again.

Where encoders of photos and of texts lie in one tower, its rows are photos with a text, and a changed
photo or a mitigated encoder makes every row another. The other encoder still reads the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from vlbias.causal.hooks import cloned, patched_forward
from vlbias.causal.staged_model import StagedModel

__all__ = ["StageCache"]

_LIMIT = 2 << 30
_PLAIN = (bool, int, float, str, torch.dtype, torch.device, torch.Size, type(None))


class StageCache:
    """Outputs of the stages that no other stage feeds, by the bytes of all they were given.

    What is found is what was computed, to the last bit; the same photos in other batches are other
    bytes. A stage that is given anything else than tensors and plain values is run every time.

    Args:
        model: Unmitigated.
        limit: Bytes that are kept at most; what comes later is not kept.
    """

    def __init__(self, model: StagedModel, limit: int = _LIMIT) -> None:
        self._net = model.net
        self._stages = [
            stage for tower in model.towers for stage in tower.stages if not stage.parents
        ]
        self._kept: dict[bytes, Any] = {}
        self._left = limit

    @contextmanager
    def used(self, besides: Collection[str]) -> Iterator[None]:
        """A context in which the model, mitigated or not, runs its first stages on new input alone.

        Args:
            besides: Stages inside of which something is changed; they run as ever.
        """
        with ExitStack() as stack:
            for stage in self._stages:
                if stage.name not in besides:
                    module = self._net.get_submodule(stage.module)
                    cached = partial(self._found, stage.name, module.forward)
                    stack.enter_context(patched_forward(module, cached))
            yield

    def _found(self, name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        key = _key(name, (args, kwargs))
        if key is None:
            return forward(*args, **kwargs)
        if key not in self._kept:
            given = forward(*args, **kwargs)
            leaves = tree_flatten(given)[0]
            size = sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))
            if size > self._left:
                return given
            self._left -= size
            self._kept[key] = cloned(given)
            return given
        return cloned(self._kept[key])


def _key(name: str, given: Any) -> bytes | None:
    """A digest of the stage and its input; None if the input is more than tensors and plain values."""
    leaves, spec = tree_flatten(given)
    digest = hashlib.blake2b(f"{name} {spec}".encode(), digest_size=16)
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)} {leaf.device}".encode())
            flat = leaf.detach().contiguous().reshape(-1).view(torch.uint8)
            digest.update(flat.cpu().numpy().data)
        elif isinstance(leaf, _PLAIN):
            digest.update(f"{type(leaf)} {leaf}".encode())
        else:
            return None
    return digest.digest()
