"""Pairs of prompts that a model solves, drawn in batches; what was drawn and why it was refused is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vlbias.errors import BadModel, NothingSolved
from vlbias.studies.symbolic.prompts import (
    Format,
    Pair,
    Prompt,
    abstract_pair,
    drawn_items,
    token_pair,
)
from vlbias.studies.symbolic.study import Study
from vlbias.studies.symbolic.vocabulary import Vocabulary

__all__ = ["Drawer", "Draws", "is_solved"]

_BATCH = 32
_LONGEST = 10
"""New tokens of a generated answer."""


@dataclass
class Draws:
    """Solved pairs, and what became of all that were drawn.

    Args:
        pairs: Of which both prompts are solved.
        counts: "solved", "first unsolved", "second unsolved" or "tokens merged" to so many drawn pairs.
    """

    pairs: list[Pair] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Drawer:
    """Draws prompts of a study for a model.

    Args:
        model: A causal language model.
        study: The study.
    """

    def __init__(self, model: Any, study: Study) -> None:
        self.model, self.study = model, study
        self.vocabulary = Vocabulary(model, study.items, study.format)

    def pairs(self, kind: str, rule: str, number: int, wanted: int, *key: int) -> Draws:
        """So many solved pairs, or fewer if the study's number of draws does not give more.

        Args:
            kind: "abstract" or "token".
            rule: Of both prompts of a token pair.
            number: Of the cell; enters ids.
            wanted: How many.
            *key: Of the random numbers, beside the study's seed.

        Raises:
            NothingSolved: if none is solved.
            BadModel: if its tokenizer merges tokens of every prompt.
        """
        draws, rng = Draws(), np.random.default_rng([self.study.seed, *key])
        most = wanted * self.study.max_draws
        while len(draws.pairs) < wanted and draws.counts.total() < most:
            size = min(_BATCH, most - draws.counts.total())
            fresh = [self._pair(kind, rule, "", rng) for _ in range(size)]
            for pair in self._solved(fresh, draws):
                if len(draws.pairs) < wanted:
                    name = f"{kind}-{rule}-{number}-{len(draws.pairs)}"
                    draws.pairs.append(Pair(name, kind, pair.worlds))
        if not draws.pairs:
            self._refuse(kind, draws)
        return draws

    def prompts(
        self, rule: str, format: Format, count: int, *key: int, words: Sequence[str] = ()
    ) -> list[Prompt]:
        """So many prompts of a rule that are laid out as they should be, solved or not.

        Args:
            rule: One of `RULES`.
            format: Layout.
            count: How many.
            *key: Of the random numbers, beside the study's seed.
            words: To draw from; all of the vocabulary if not given.

        Raises:
            BadModel: if its tokenizer merges tokens of nearly every prompt.
        """
        rng = np.random.default_rng([self.study.seed, *key])
        lures = self.study.lures
        found: list[Prompt] = []
        for _ in range(count * self.study.max_draws):
            items = drawn_items(words or self.vocabulary.words, format, rng, lures=lures)
            prompt = Prompt(items, rule, format)
            if self.vocabulary.is_laid_out(prompt.words, self.ids(prompt)):
                found.append(prompt)
            if len(found) == count:
                return found
        raise self._merged()

    def ids(self, prompt: Prompt) -> list[int]:
        """Tokens of a prompt."""
        ids: list[int] = self.model.tokens(prompt.text)
        return ids

    def solves(self, prompts: Sequence[Prompt]) -> list[bool]:
        """Which prompts are solved, by the study's rule."""
        return [
            solved
            for start in range(0, len(prompts), _BATCH)
            for solved in is_solved(
                self.model,
                [self.ids(prompt) for prompt in prompts[start : start + _BATCH]],
                [self.vocabulary.ids[prompt.answer] for prompt in prompts[start : start + _BATCH]],
                newline=self.study.newline if self.study.solved == "generation" else None,
            )
        ]

    def _pair(self, kind: str, rule: str, name: str, rng: np.random.Generator) -> Pair:
        format = self.study.format
        items = drawn_items(self.vocabulary.words, format, rng, lures=self.study.lures)
        if kind == "abstract":
            return abstract_pair(name, items, format)
        return token_pair(name, items, rule, format)

    def _solved(self, fresh: Sequence[Pair], draws: Draws) -> Iterator[Pair]:
        """The pairs of which both prompts are solved; the second is asked for only where the first is."""
        laid = [
            pair
            for pair in fresh
            if all(self.vocabulary.is_laid_out(p.words, self.ids(p)) for p in pair.worlds.values())
        ]
        draws.counts["tokens merged"] += len(fresh) - len(laid)
        base, other = laid[0].contrast.base if laid else "", laid[0].contrast.cf if laid else ""
        first = _kept(laid, self.solves([pair.worlds[base] for pair in laid]))
        draws.counts["first unsolved"] += len(laid) - len(first)
        both = _kept(first, self.solves([pair.worlds[other] for pair in first]))
        draws.counts["second unsolved"] += len(first) - len(both)
        draws.counts["solved"] += len(both)
        yield from both

    def _refuse(self, kind: str, draws: Draws) -> None:
        total = draws.counts.total()
        if draws.counts["tokens merged"] == total:
            raise self._merged()
        raise NothingSolved(
            f"{self.model.name} solves both prompts of none of {total} {kind} pairs of {self.study.shots} "
            "shots (argmax or generation, as the study says): heads can only be looked for in a model that "
            "does the task. Give more shots, a larger max_draws, or a model that can."
        )

    def _merged(self) -> BadModel:
        return BadModel(
            f"{self.model.name}: its tokenizer merges items and separators of the prompts, so that they are "
            f"not 6 shots + 4 tokens; choose another separator than {self.study.separator!r} or other items"
        )


def _kept(pairs: Sequence[Pair], which: Sequence[bool]) -> list[Pair]:
    return [pair for pair, kept in zip(pairs, which, strict=True) if kept]


def is_solved(
    model: Any, ids: Sequence[list[int]], answers: Sequence[int], *, newline: str | None = None
) -> list[bool]:
    """Whether a model answers prompts.

    Args:
        model: A causal language model.
        ids: Tokens of the prompts.
        answers: The token that is right for each.
        newline: If given, the greedy text of up to 10 tokens must be the answer up to this mark; otherwise
            the most probable next token must be the answer.
    """
    if not ids:
        return []
    next_tokens = model.next_token_logits(ids).argmax(1)
    right = (next_tokens.cpu() == torch.tensor(answers)).tolist()
    if newline is None:
        return [bool(one) for one in right]
    open_texts = {place: [answers[place]] for place, one in enumerate(right) if one}
    solved = [False] * len(ids)
    for _ in range(_LONGEST - 1):
        if not open_texts:
            break
        so_far = [[*ids[place], *text] for place, text in open_texts.items()]
        following = model.next_token_logits(so_far).argmax(1).tolist()
        for (place, text), token in zip(list(open_texts.items()), following, strict=True):
            said = model.text_of([*text, token])
            if newline in said:
                solved[place] = said.split(newline)[0].strip() == model.text_of([answers[place]])
                del open_texts[place]
            else:
                text.append(token)
    return solved
