"""Passes that leave out what no addition reaches: tokens before the subject's last, blocks before the map's.

A copy of a text that differs in layer l alone is the unchanged text up to that block. It therefore enters the
batch there, as it came out of one recorded pass, and tokens before the subject are keys and values that were
kept. Each text has passes of its own, since its subject stands at a place of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from vlbias.causal.cloze import Completion
from vlbias.causal.hooks import first_tensor, patched_forward, with_first_tensor
from vlbias.causal.joint_pass import arguments_of
from vlbias.edits.added_passes import Added, add_at, subject_end
from vlbias.edits.keys import collated

__all__ = ["StaggeredPasses", "can_stagger"]


def can_stagger(model: Any) -> bool:
    """Whether texts of a model can be gone on with from keys and values of their first tokens."""
    return model.towers[0].causal is not None


@dataclass(frozen=True, eq=False)
class _Stem:
    """A text as nothing is added.

    Args:
        batch: One row, as the model reads it.
        start: Last token of the subject, from which tokens run again.
        past: Keys and values of every layer, [1, key heads, tokens, width].
        entering: What each block takes, [1, tokens from start, width].
        left: What each block gives of no row.
    """

    batch: Mapping[str, Tensor]
    start: int
    past: list[tuple[Tensor, Tensor]]
    entering: list[Tensor]
    left: list[Any]


class StaggeredPasses:
    """See `vlbias.edits.added_passes.Passes`; for models that keep keys and values.

    Args:
        model: A causal language model.
        texts: Prompts with the answer; the subject is a span.
        essence: The text behind which the next token is asked.
    """

    def __init__(self, model: Any, texts: Sequence[Completion], essence: Completion) -> None:
        self.model = model
        self.blocks: tuple[str, ...] = model.towers[0].stages[0].blocks
        self.texts = [self._stem(text, None) for text in texts]
        self.essence = self._stem(essence, model.tokenised(essence).length)
        self._begun = False

    def _stem(self, text: Completion, length: int | None) -> _Stem:
        batch, _ = collated(self.model, [text])
        if length is not None:
            batch = {**batch, "input_ids": batch["input_ids"][:, :length]}
        start = subject_end(self.model, text)
        seen: dict[str, Any] = {}
        with ExitStack() as hooks:
            for name in self.blocks:
                module = self.model.net.get_submodule(name)

                def before(_: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                    seen[f"{name} in"] = first_tensor((args, kwargs))

                def after(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
                    seen[f"{name} out"] = tree_map(_no_rows, output)

                hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(after).remove)
            past = self.model.past("lm", batch)
        # what is recorded without gradients cannot be read by a pass that has them, but copies can
        return _Stem(
            batch,
            start,
            [(keys.clone(), values.clone()) for keys, values in past],
            [seen[f"{name} in"][:, start:].clone() for name in self.blocks],
            [tree_map(_cloned, seen[f"{name} out"]) for name in self.blocks],
        )

    def run(self, added: Sequence[Added]) -> tuple[Tensor, Tensor]:
        """See `vlbias.edits.added_passes.Passes.run`."""
        order = sorted(range(len(added)), key=lambda place: added[place].map.site.layer or 0)
        inside = [added[place] for place in order]
        together, self._begun = not self._begun, True
        scores = [self._scores(stem, inside, together) for stem in self.texts]
        logits = self._logits(inside, together)
        back = torch.tensor([0] if together else [order.index(n) for n in range(len(added))])
        return torch.stack(scores, 1)[back], logits.log_softmax(1)[back]

    def _scores(self, stem: _Stem, added: Sequence[Added], together: bool) -> Tensor:
        with self._entered(stem, added, together) as rows:
            batch = {key: t.expand(len(rows), *t.shape[1:]) for key, t in stem.batch.items()}
            scores: Tensor = self.model.continued("lm", batch, stem.past, rows, stem.start)
        return scores[:, 0]

    def _logits(self, added: Sequence[Added], together: bool) -> Tensor:
        stem = self.essence
        with self._entered(stem, added, together) as rows:
            ids = stem.batch["input_ids"].expand(len(rows), -1)
            logits: Tensor = self.model.continued_logits(ids, stem.past, rows, stem.start)
        return logits

    @contextmanager
    def _entered(self, stem: _Stem, added: Sequence[Added], together: bool) -> Iterator[Tensor]:
        """The recorded row of each copy, whose blocks run from its map on.

        Args:
            stem: The text.
            added: What is added, in the order of layers.
            together: Add all to one copy: where nothing is added yet, its gradients are those of every copy.
        """
        layers = [one.map.site.layer or 0 for one in added]
        copies = Counter(layers[:1] if together else layers)
        total = copies.total()
        joint = _Joint(stem, copies, total)
        device = stem.batch["input_ids"].device
        with ExitStack() as stack:
            for number, one in enumerate(added):
                row = torch.tensor([0 if together else number], device=device)
                seen = 1 if together else sum(layer <= layers[number] for layer in layers)
                add_at(stack, self.model.net, one, row, torch.zeros_like(row), seen)
            for number, name in enumerate(self.blocks):
                module = self.model.net.get_submodule(name)
                forward = partial(joint.run_block, number, module.forward)
                stack.enter_context(patched_forward(module, forward))
            yield torch.zeros(total, dtype=torch.long, device=device)


class _Joint:
    """One pass: `entered` counts the copies that run so far."""

    def __init__(self, stem: _Stem, copies: Mapping[int, int], total: int) -> None:
        self.stem, self.copies, self.total, self.entered = stem, copies, total, 0

    def run_block(self, number: int, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a block gives for the copies that entered before it and those that enter at it."""
        taken = (args, kwargs)
        new = self.copies.get(number, 0)
        parts = [first_tensor(taken)[: self.entered]] if self.entered else []
        if new:
            given = self.stem.entering[number]
            parts.append(given.expand(new, *given.shape[1:]))
        if not parts:
            return self.stem.left[number]
        self.entered += new
        some = arguments_of(taken, slice(0, self.entered), self.total)
        args, kwargs = with_first_tensor(some, torch.cat(parts))
        return forward(*args, **kwargs)


def _no_rows(leaf: Any) -> Any:
    return leaf[:0] if isinstance(leaf, Tensor) else leaf


def _cloned(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, Tensor) else leaf
