"""Tokens whose embeddings have noise on them: ids behind those of the vocabulary, each a token and its noise.

Two rows that differ in noise then differ in their ids, which is what the engine compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlbias.causal.cloze import Noise
from vlbias.errors import UnknownName

__all__ = ["NoisedTokens"]


class NoisedTokens:
    """The noised tokens of a model; its embeddings are left as they are until the first one.

    Args:
        embed: What gives the embedding of a token; its forward takes noised ids from the first one on.
    """

    def __init__(self, embed: nn.Module) -> None:
        self._embed = embed
        self._numbers: dict[tuple[int, Noise, int], int] = {}
        self._tokens: list[int] = []
        self._noise: list[Tensor] = []
        self._stacked: tuple[Tensor, Tensor] | None = None
        self._plain: Any = None

    def ids(
        self, ids: Sequence[int], noise: Noise, spans: Mapping[str, Sequence[int]]
    ) -> tuple[int, ...]:
        """Ids of a text with those of a span noised.

        Args:
            ids: Of its tokens.
            noise: What is added, [tokens of the span, width] of it.
            spans: Name of a span to its tokens.

        Raises:
            UnknownName: if there is no such span, with suggestions.
        """
        if noise.span not in spans:
            raise UnknownName("span of the text", noise.span, spans)
        self._install()
        found, places = list(ids), spans[noise.span]
        drawn: Tensor | None = None
        for number, place in enumerate(places):
            key = (int(ids[place]), noise, number)
            if key not in self._numbers:
                drawn = self._drawn(noise, len(places)) if drawn is None else drawn
                self._numbers[key] = len(self._tokens)
                self._tokens.append(key[0])
                self._noise.append(drawn[number])
                self._stacked = None
            found[place] = self._size + self._numbers[key]
        return tuple(found)

    def clear(self) -> None:
        """Forget all of them; ids that were given before are no tokens any more."""
        self._numbers.clear()
        self._tokens.clear()
        self._noise.clear()
        self._stacked = None

    @property
    def _weight(self) -> Tensor:
        weight = self._embed.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def _size(self) -> int:
        return len(self._weight)

    def _drawn(self, noise: Noise, tokens: int) -> Tensor:
        width = self._weight.shape[1]
        normal = np.random.default_rng(noise.seed).standard_normal((tokens, width))
        return torch.from_numpy(noise.sd * normal).float()

    def _install(self) -> None:
        if self._plain is None:
            self._plain = self._embed.forward
            self._embed.forward = self._forward  # type: ignore[assignment, method-assign, unused-ignore]

    def _forward(self, ids: Tensor) -> Tensor:
        """Embeddings [rows, tokens, width] of ids, noised or not."""
        virtual = ids >= self._size
        if not bool(virtual.any()):
            return self._plain(ids)  # type: ignore[no-any-return]
        if self._stacked is None or self._stacked[0].device != ids.device:
            tokens, noise = torch.tensor(self._tokens), torch.stack(self._noise)
            self._stacked = tokens.to(ids.device), noise.to(ids.device)
        tokens, noise = self._stacked
        place = (ids - self._size).clamp(min=0)
        known: Tensor = self._plain(torch.where(virtual, tokens[place], ids))
        return torch.where(virtual[..., None], known + noise[place].to(known.dtype), known)
