"""What MLPs read and give at a fact's subject, and second moments of what they read in texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlbias.causal.cloze import Completion
from vlbias.causal.hooks import first_tensor
from vlbias.data.facts import Fact
from vlbias.edits.weights import OutputMap
from vlbias.errors import BadData
from vlbias.files import whole

__all__ = [
    "SUBJECT",
    "KeyMoments",
    "Recorded",
    "by_rows",
    "collated",
    "completion",
    "key_moments",
    "record_maps",
]

SUBJECT = "subject"
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Recorded:
    """What one map reads and gives at the last token of a subject.

    Args:
        keys: [texts, in].
        values: [texts, out].
        block: What the whole block gives, [texts, width].
    """

    keys: Tensor
    values: Tensor
    block: Tensor


@dataclass(frozen=True, eq=False)
class KeyMoments:
    """C = E[k kᵀ] of what maps read in texts.

    Args:
        moments: Path of a map to [in, in], in double precision.
        tokens: How many keys they are means of.
        rank: Path to the rank, of at most as many as there are keys.
    """

    moments: dict[str, Tensor]
    tokens: int
    rank: dict[str, int]
    _factors: dict[tuple[str, float], tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False
    )

    def whitened(self, path: str, ridge: float, key: Tensor) -> Tensor:
        """C⁻¹k of a map, [in], in double precision; its factors are kept for the next edit.

        Raises:
            BadData: if the moments cannot be inverted; says the rank.
        """
        asked = path, ridge
        if asked not in self._factors:
            self._factors[asked] = torch.linalg.lu_factor(self.with_ridge(path, ridge))
        solved: Tensor = torch.linalg.lu_solve(*self._factors[asked], key.cpu().double()[:, None])
        return solved[:, 0]

    def refuse_few(self, path: str, keys: int) -> None:
        """Nothing, if the moments of a map with so many more keys can be inverted.

        Raises:
            BadData: otherwise; says the rank.
        """
        size = len(self.moments[path])
        if self.rank[path] + keys < size:
            raise BadData(
                f"the second moments of {path} have rank {self.rank[path]} of {size}: {self.tokens} tokens of "
                "text are too few to invert them. Give more texts, or a ridge such as 0.01"
            )

    def with_ridge(self, path: str, ridge: float) -> Tensor:
        """Moments of a map with a share of their mean diagonal added to the diagonal.

        Raises:
            BadData: if they cannot be inverted; says the rank.
        """
        moments = self.moments[path]
        if ridge <= 0:
            self.refuse_few(path, 0)
        eye = torch.eye(len(moments), dtype=moments.dtype)
        return moments + ridge * moments.diagonal().mean() * eye


def completion(fact: Fact, answer: str, prefix: str = "", prompt: str | None = None) -> Completion:
    """A prompt of a fact with an answer, its subject a span.

    Args:
        fact: The fact.
        answer: What should follow.
        prefix: Text that stands before the prompt.
        prompt: Another prompt that names the subject.

    Raises:
        BadData: if the subject does not stand in the prompt.
    """
    text = fact.prompt if prompt is None else prompt
    if fact.subject not in text:
        raise BadData(f"fact {fact.id!r}: the subject {fact.subject!r} is not in {text!r}")
    whole_text = f"{prefix} {text}" if prefix else text
    start = len(whole_text) - len(text) + text.rindex(fact.subject)
    return Completion(whole_text, (answer,), ((SUBJECT, start, start + len(fact.subject)),))


@torch.no_grad()
def record_maps(
    model: Any, maps: Sequence[OutputMap], texts: Sequence[Completion]
) -> dict[str, Recorded]:
    """What maps read and give at the last token of the subject, by their paths, in one pass.

    Args:
        model: A causal language model.
        maps: Which.
        texts: With a span `SUBJECT`.
    """
    batch, places = collated(model, texts)
    rows = torch.arange(len(texts), device=places.device)
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for one in maps:
            _listen(hooks, model.net, one.path, seen, len(texts))
            _listen(hooks, model.net, one.block, seen, len(texts), outputs_only=True)
        model.encode("lm", batch)
    return {
        one.path: Recorded(
            seen[f"{one.path} in"][rows, places],
            seen[f"{one.path} out"][rows, places],
            seen[f"{one.block} out"][rows, places],
        )
        for one in maps
    }


def collated(model: Any, texts: Sequence[Completion]) -> tuple[dict[str, Tensor], Tensor]:
    """The batch of texts, and the last token of the subject in each."""
    rows = [model.split({"text": text})["lm"][0] for text in texts]
    places = [max(model.tokenised(text).spans[SUBJECT]) for text in texts]
    batch = model.collate("lm", rows)
    return batch, torch.tensor(places, device=batch["input_ids"].device)


def by_rows(tensor: Tensor, rows: int) -> Tensor:
    """A tensor [rows, tokens, width], where a family lets its MLP see [rows · tokens, width]."""
    return tensor if tensor.ndim == 3 else tensor.unflatten(0, (rows, -1))


def _listen(
    hooks: ExitStack,
    net: nn.Module,
    path: str,
    seen: dict[str, Tensor],
    rows: int,
    *,
    outputs_only: bool = False,
) -> None:
    def after(_: nn.Module, args: Any, output: Any) -> None:
        if not outputs_only:
            seen[f"{path} in"] = by_rows(first_tensor(args).detach(), rows)
        seen[f"{path} out"] = by_rows(first_tensor(output).detach(), rows)

    hooks.callback(net.get_submodule(path).register_forward_hook(after).remove)


def key_moments(
    model: Any, maps: Sequence[OutputMap], texts: Sequence[str], cache: Path | None = None
) -> KeyMoments:
    """Second moments of what maps read at every token of texts.

    Args:
        model: A causal language model.
        maps: Which.
        texts: As they are read.
        cache: Folder in which they are kept, under a hash of the model, the maps and the texts.

    Raises:
        BadData: if there is no text.
    """
    if not texts:
        raise BadData("no text is given: second moments of keys are means over the tokens of texts")
    named = [one.path for one in maps]
    asked = json.dumps([model.name, model.revision, named, list(texts)])
    path = None
    if cache is not None:
        path = cache / f"moments-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.safetensors"
        known = _cached(path, named)
        if known is not None:
            return known
    sums, tokens = _summed(model, maps, texts)
    moments = {name: total / tokens for name, total in sums.items()}
    # symmetric matrices have their ranks by eigenvalues in a fraction of the time of singular ones
    rank = {name: int(torch.linalg.matrix_rank(m, hermitian=True)) for name, m in moments.items()}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = {f"{name} rank": torch.tensor(rank[name]) for name in named}
        with whole(path) as temporary:
            save_file({**moments, **counts, "tokens": torch.tensor(tokens)}, temporary)
    return KeyMoments(moments, tokens, rank)


@torch.no_grad()
def _summed(
    model: Any, maps: Sequence[OutputMap], texts: Sequence[str]
) -> tuple[dict[str, Tensor], int]:
    sums: dict[str, Tensor] = {}
    count = 0
    ids = [model.tokens(text)[: model.max_tokens] for text in texts]
    for start in range(0, len(ids), _BATCH):
        some = ids[start : start + _BATCH]
        seen: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for one in maps:
                _listen(hooks, model.net, one.path, seen, len(some))
            model.next_token_logits(some)
        longest = max(map(len, some))
        mask = torch.tensor([[place < len(row) for place in range(longest)] for row in some])
        count += int(mask.sum())
        for one in maps:
            keys = seen[f"{one.path} in"].cpu()[mask].double()
            sums[one.path] = sums.get(one.path, 0.0) + keys.T @ keys
    return sums, count


def _cached(path: Path, named: Sequence[str]) -> KeyMoments | None:
    try:
        held = load_file(path)
    except (OSError, SafetensorError):  # not there yet, or broken off by an older version
        return None
    moments = {name: held[name] for name in named}
    return KeyMoments(
        moments, int(held["tokens"]), {name: int(held[f"{name} rank"]) for name in named}
    )
