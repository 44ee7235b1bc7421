"""A mitigated model: the adapter it was made from, with another revision and what a mitigation changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import (
    Batch,
    CausalModel,
    Encoded,
    Port,
    Readout,
    StagedModel,
    Tower,
)

__all__ = ["MitigatedModel", "Rewriting", "revised"]


def revised(revision: str, *parts: object) -> str:
    """The revision of a changed model: two are equal only if what was changed is."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:12]
    return f"{revision}+{digest}"


class MitigatedModel:
    """A staged model that passes everything on to another; subclasses change what they must.

    Args:
        inner: The model it is made from, perhaps a mitigated one.
        revision: See `revised`.
    """

    def __init__(self, inner: StagedModel, revision: str) -> None:
        self.inner, self.revision = inner, revision
        self.name: str = inner.name
        self.net: nn.Module = inner.net
        self.towers: tuple[Tower, ...] = inner.towers
        self.ports: tuple[Port, ...] = inner.ports
        self.gives: frozenset[str] = inner.gives
        self.lasting: ExitStack | None = None  # keeps the mitigation of a loaded folder applied

    @property
    def plain(self) -> StagedModel:
        """The adapter at the bottom, that no mitigation wraps."""
        return self.inner.plain if isinstance(self.inner, MitigatedModel) else self.inner

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """See `StagedModel.split`."""
        return self.inner.split(inputs)

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """See `StagedModel.collate`."""
        return self.inner.collate(tower, rows)

    def encode(self, tower: str, batch: Batch) -> Encoded:
        """See `StagedModel.encode`."""
        return self.inner.encode(tower, batch)

    def join(self, values: Mapping[str, Encoded], index: Mapping[str, Tensor]) -> Readout:
        """See `StagedModel.join`."""
        return self.inner.join(values, index)

    def past(self, tower: str, batch: Batch) -> Any:
        """See `CausalModel.past`; only towers that name `causal` are asked."""
        inner: CausalModel = self.inner  # type: ignore[assignment]
        return inner.past(tower, batch)

    def continued(self, tower: str, batch: Batch, past: Any, rows: Tensor, start: int) -> Encoded:
        """See `CausalModel.continued`."""
        inner: CausalModel = self.inner  # type: ignore[assignment]
        return inner.continued(tower, batch, past, rows, start)


class Rewriting(MitigatedModel):
    """A model that reads other inputs than it is given.

    Args:
        inner: The model it is made from.
        revision: See `revised`.
        rewrite: New inputs from given ones.
    """

    def __init__(
        self, inner: StagedModel, revision: str, rewrite: Callable[[Inputs], Inputs]
    ) -> None:
        super().__init__(inner, revision)
        self._rewrite = rewrite

    def split(self, inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
        """The rows of the rewritten inputs."""
        return self.inner.split(self._rewrite(inputs))
