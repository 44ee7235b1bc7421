"""What a model says of facts: whether it knows them, and where their tokens are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlbias.causal.cloze import Completion
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy

__all__ = ["answer_tokens", "are_answered", "refuse_other_models"]

_BATCH = 64


def refuse_other_models(model: str, outline: StagedModel) -> None:
    """Nothing, if a model gives the next token of a text.

    Raises:
        BadStudy: otherwise.
    """
    layout = getattr(outline, "layout", None)
    texts_only = all(tower.channels == ("text",) for tower in outline.towers)
    if not texts_only or layout is None or layout.masked:
        raise BadStudy("model", model, "a causal language model, which gives the next token")


def answer_tokens(model: Any, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Tokens of a prompt and of the answer behind it."""
    said = model.tokenised(Completion(prompt, (answer,)))
    return list(said.ids[: said.length]), [token for _, token, _ in said.asked]


def are_answered(model: Any, items: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each answer is what a model says next, token by token: all of it, not its first token.

    Args:
        model: A causal language model.
        items: Prompts and answers.
    """
    said = [answer_tokens(model, prompt, answer) for prompt, answer in items]
    right: list[bool] = []
    for start in range(0, len(said), _BATCH):
        part = said[start : start + _BATCH]
        texts = [[*before, *tokens] for before, tokens in part]
        right += model.are_next(texts, [len(before) for before, _ in part])
    return right
