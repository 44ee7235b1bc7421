"""Passes of texts in which several maps give more at the subject, each in rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vlbias.causal.cloze import Completion
from vlbias.causal.hooks import first_tensor, with_first_tensor
from vlbias.edits.keys import SUBJECT, by_rows, collated
from vlbias.edits.weights import OutputMap

__all__ = ["Added", "Passes", "WholePasses", "add_at", "subject_end"]


@dataclass(frozen=True, eq=False)
class Added:
    """What one map gives more at the last token of the subject.

    Args:
        map: The map.
        delta: How much, [out].
    """

    map: OutputMap
    delta: Tensor


class Passes(Protocol):
    """Passes of the texts of one edit."""

    def run(self, added: Sequence[Added]) -> tuple[Tensor, Tensor]:
        """Scores of the answers and log-probabilities behind the essence, each with one map's addition.

        Args:
            added: Of each map.

        Returns:
            Mean log-probability of the answer's tokens, [maps, texts], and log-probabilities of the token
            behind the essence, [maps, vocabulary]. One row of each where nothing is added yet, from which
            the gradients for all maps come.
        """
        ...


def subject_end(model: Any, text: Completion) -> int:
    """The last token of the subject in a text."""
    end: int = max(model.tokenised(text).spans[SUBJECT])
    return end


def add_at(
    hooks: ExitStack, net: nn.Module, one: Added, rows: Tensor, tokens: Tensor, total: int
) -> None:
    """Let a map give more at some tokens of some rows, as long as the hooks last.

    Args:
        hooks: To which removal is left.
        net: The network.
        one: What is added.
        rows: Rows of the batch.
        tokens: A token of each.
        total: Rows that the map sees.
    """

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        given = first_tensor(output)
        tensor = by_rows(given, total).clone()
        tensor[rows, tokens] = tensor[rows, tokens] + one.delta
        return with_first_tensor(output, tensor.view_as(given))

    hooks.callback(net.get_submodule(one.map.path).register_forward_hook(after).remove)


class WholePasses:
    """Every token and every block in every row: what any causal model can do.

    Args:
        model: A causal language model.
        texts: Prompts with the answer; the subject is a span.
        essence: The text behind which the next token is asked.
    """

    def __init__(self, model: Any, texts: Sequence[Completion], essence: Completion) -> None:
        self.model = model
        self.batch, self.places = collated(model, texts)
        said = model.tokenised(essence)
        self.ids, self.subject = list(said.ids[: said.length]), subject_end(model, essence)

    def run(self, added: Sequence[Added]) -> tuple[Tensor, Tensor]:
        """See `Passes.run`."""
        count, copies = len(self.places), len(added)
        several = {
            key: t.repeat(copies, *(1 for _ in t.shape[1:])) if t.ndim else t
            for key, t in self.batch.items()
        }
        with self._added(added, self.places):
            scores = self.model.encode("lm", several)[:, 0].view(copies, count)
        place = torch.tensor([self.subject], device=self.places.device)
        with self._added(added, place):
            logits = self.model.next_token_logits([self.ids] * copies, grad=True)
        return scores, logits.log_softmax(1)

    def _added(self, added: Sequence[Added], places: Tensor) -> ExitStack:
        """Each copy of the rows has the addition of its own map."""
        hooks, total = ExitStack(), len(added) * len(places)
        for number, one in enumerate(added):
            first = number * len(places)
            rows = torch.arange(first, first + len(places), device=places.device)
            add_at(hooks, self.model.net, one, rows, places, total)
        return hooks
