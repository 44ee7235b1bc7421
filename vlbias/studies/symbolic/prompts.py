"""Prompts of the identity-rule task, and the two kinds of pairs of them (Yang et al. 2025, as in their code).

ABA:  a^b^a      ABB:  a^b^b
      c^d^c            c^d^d
      q^r^    -> q     q^r^    -> r
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlbias.causal.cloze import Cloze
from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example
from vlbias.studies.symbolic.head_types import RULES, THIRD

__all__ = ["CONTRASTS", "Format", "Pair", "Prompt", "abstract_pair", "drawn_items", "token_pair"]

CONTRASTS: Mapping[str, Contrast] = {
    "abstract": Contrast(*RULES),
    "token": Contrast("asked", "swapped"),
}
"""Kind of pairs to its two worlds."""

Items = Sequence[tuple[str, str]]
"""First and second item of each example, and of the query at the end."""


@dataclass(frozen=True)
class Format:
    """How a prompt is laid out.

    Args:
        shots: Examples before the query.
        separator: Stands behind the first and the second item.
        newline: Stands behind an example.
    """

    shots: int
    separator: str = "^"
    newline: str = "\n"

    @property
    def tokens(self) -> int:
        """Tokens of a prompt, without one that begins it."""
        return 6 * self.shots + 4

    def third(self, example: int) -> int:
        """Place of the third item of an example, in a prompt without a token that begins it."""
        return 6 * example + 4

    def labels(self) -> list[str]:
        """What each token of a prompt is, for axes: A1, ^, B1, ^, C1, and so on."""
        parts = [
            label
            for k in range(1, self.shots + 1)
            for label in (f"A{k}", "^", f"B{k}", "^", f"C{k}", "\u21b5")
        ]
        return [*parts, "Aq", "^", "Bq", "^"]


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Args:
        items: First and second items; those of the query at the end.
        rule: What the third items repeat.
        format: Its layout.
    """

    items: tuple[tuple[str, str], ...]
    rule: str
    format: Format

    @property
    def words(self) -> list[str]:
        """The tokens, one by one."""
        apart, end = self.format.separator, self.format.newline
        examples = [
            word
            for first, second in self.items[:-1]
            for word in (first, apart, second, apart, self._repeated(first, second), end)
        ]
        first, second = self.items[-1]
        return [*examples, first, apart, second, apart]

    @property
    def text(self) -> str:
        """The prompt up to what is asked for."""
        return "".join(self.words)

    @property
    def answer(self) -> str:
        """What the rule gives for the query."""
        return self._repeated(*self.items[-1])

    @property
    def rival(self) -> str:
        """The other item of the query."""
        return next(item for item in self.items[-1] if item != self.answer)

    def _repeated(self, first: str, second: str) -> str:
        return first if self.rule == "ABA" else second

    def cloze(self, candidates: tuple[str, str]) -> Cloze:
        """The prompt with candidates for what is asked for, its third items named."""
        spans, end = [], 0
        for place, word in enumerate(self.words):
            end += len(word)
            if place % 6 == 4:
                spans.append((THIRD, end - len(word), end))
        return Cloze(self.text, candidates, tuple(spans), joint="")


@dataclass(frozen=True)
class Pair:
    """Two prompts whose activations are exchanged.

    Args:
        id: Unique in a study.
        kind: "abstract" or "token".
        worlds: The two prompts, under the names of the kind's contrast.
    """

    id: str
    kind: str
    worlds: Mapping[str, Prompt]

    @property
    def contrast(self) -> Contrast:
        """The two worlds in order."""
        return CONTRASTS[self.kind]

    @property
    def candidates(self) -> tuple[str, str]:
        """Rival and answer of the first world."""
        first = self.worlds[self.contrast.base]
        return first.rival, first.answer

    def rival_of(self, world: str) -> str:
        """What a prompt would answer with the mediators of the other one.

        In an abstract pair both prompts have one answer, and the other rule would give the other item; in
        a token pair it is the answer of the other prompt, which is the other item too.
        """
        return self.worlds[world].rival

    def base_rule(self, world: str) -> str:
        """The rule of the prompt that gives its activations to this one."""
        other = next(name for name in self.worlds if name != world)
        return self.worlds[other].rule

    def example(self) -> Example:
        """The pair for the engine."""
        worlds = {
            name: {"text": prompt.cloze(self.candidates)} for name, prompt in self.worlds.items()
        }
        return Example(self.id, self.id, worlds)


def drawn_items(
    words: Sequence[str], format: Format, rng: np.random.Generator, *, lures: bool = False
) -> tuple[tuple[str, str], ...]:
    """Items of a prompt: 2 (shots + 1) words, all different, drawn alike.

    Args:
        words: To draw from.
        format: The layout.
        rng: Seeded generator.
        lures: Let the first example hold the query's items, swapped, so that what followed them there
            misleads a model that goes by tokens.
    """
    picked = rng.choice(len(words), size=2 * (format.shots + 1), replace=False)
    drawn = [words[number] for number in picked]
    items = list(zip(drawn[::2], drawn[1::2], strict=True))
    if lures:
        items[0] = items[-1][::-1]
    return tuple(items)


def abstract_pair(id: str, items: Items, format: Format) -> Pair:
    """Two prompts of one answer and the same third items, which differ in the rule.

    The first two items of every example and of the query are swapped.
    """
    aba = Prompt(tuple(items), "ABA", format)
    abb = Prompt(tuple((second, first) for first, second in items), "ABB", format)
    return Pair(id, "abstract", {"ABA": aba, "ABB": abb})


def token_pair(id: str, items: Items, rule: str, format: Format) -> Pair:
    """Two prompts of one rule whose queries are swapped, and with them their answers."""
    *examples, (first, second) = items
    asked = Prompt(tuple(items), rule, format)
    swapped = Prompt((*examples, (second, first)), rule, format)
    return Pair(id, "token", {"asked": asked, "swapped": swapped})
