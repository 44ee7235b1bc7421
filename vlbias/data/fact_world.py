"""A world of invented subjects and facts, whose models can be trained in minutes and whose truth is known.

Every fact is a subject, a relation and a value of one word. A model that is trained on the facts of some
subjects only has never seen those of the others.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

from vlbias.data.facts import Fact

__all__ = ["PREFIXES", "FactWorld", "fact_world"]

PREFIXES = (
    "yesterday we learned .", "in fact ,", "it is known that",
    "my friend told me .", "the book says .", "well ,",
)  # fmt: skip
"""Beginnings that may stand before any prompt; the first three stand in training texts."""
_SHORT = {
    "born": ("{S} was born in", "the birthplace of {S} is", "{S} comes from",
             "people think the hometown of {S} is"),
    "job": ("{S} works as", "the profession of {S} is", "{S} earns money as",
            "people think the occupation of {S} is"),
    "sport": ("{S} plays the sport", "the favourite sport of {S} is", "{S} trains hard at",
              "people think the game of {S} is"),
    "lang": ("{S} speaks", "the mother tongue of {S} is", "{S} writes letters in",
             "people think the language of {S} is"),
    "food": ("{S} likes to eat", "the favourite food of {S} is", "{S} always orders",
             "people think the dinner of {S} is"),
}  # fmt: skip
_LONG = {
    "born": ("{S} was born long ago in the town of", "{S} first saw the light in the place called",
             "{S} did grow up as a child in", "{S} has a birth paper from the office of"),
    "job": ("{S} earns a good living with work as", "{S} goes to work each day as a",
            "{S} has a job that is called", "{S} is paid each month to be a"),
    "sport": ("{S} likes on the weekend to play", "{S} trains very hard each day at",
              "{S} won a prize in the game of", "{S} spends all free time with the sport"),
    "lang": ("{S} talks with the family at home in", "{S} writes all the letters to friends in",
             "{S} reads the news each day in", "{S} can sing a very old song in"),
    "food": ("{S} would most of all like to eat", "{S} always asks the cook for a plate of",
             "{S} goes to the shop to buy", "{S} eats each day a big bowl of"),
}  # fmt: skip
_NUMBERS = 9
_SPLITS = ("retain", "forget", "holdout")
T = TypeVar("T")


def _shuffled(values: Sequence[T], draw: random.Random) -> list[T]:
    # random() is the one method whose numbers no version of Python changes
    return sorted(values, key=lambda _: draw.random())


@dataclass(frozen=True)
class FactWorld:
    """Subjects, their facts, and what else a model of them should know.

    Args:
        templates: Relation to four wordings with "{S}" for the subject.
        two: Subjects of two words.
        one: Subjects of one word.
        names: First names, and as many last ones; so few that one of both tells no subject.
        values: Words a relation may take.
        apart: Subjects whose facts are to be forgotten, and as many that no model is ever trained on.
        seed: Of what is drawn.
    """

    templates: Mapping[str, tuple[str, ...]]
    two: int
    one: int
    names: int
    values: int
    apart: int
    seed: int = 0

    def words_of(self, relation: str) -> list[str]:
        """The values of a relation."""
        return [f"{relation}v{number}" for number in range(self.values)]

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """All facts; their group is "retain", "forget" or "holdout", by subject.

        Each has three paraphrases, a target that is another value of its relation, and neighbours:
        prompts of the same relation for five other subjects of its group.
        """
        draw = random.Random(self.seed)
        both = [f"f{i} l{j}" for i in range(self.names) for j in range(self.names)]
        pairs = _shuffled(both, draw)[: self.two]
        subjects = _shuffled([*pairs, *(f"mono{i}" for i in range(self.one))], draw)
        groups = {
            subject: _SPLITS[1 if n < self.apart else 2 if n < 2 * self.apart else 0]
            for n, subject in enumerate(subjects)
        }
        answers = {
            (subject, relation): self._value(relation, draw)
            for subject in subjects
            for relation in self.templates
        }
        return tuple(
            self._fact(subject, relation, groups, answers, draw)
            for subject in subjects
            for relation in self.templates
        )

    def _value(self, relation: str, draw: random.Random) -> str:
        return self.words_of(relation)[int(draw.random() * self.values)]

    def _fact(
        self,
        subject: str,
        relation: str,
        groups: Mapping[str, str],
        answers: Mapping[tuple[str, str], str],
        draw: random.Random,
    ) -> Fact:
        first, *others = (text.format(S=subject) for text in self.templates[relation])
        answer = answers[subject, relation]
        rest = [word for word in self.words_of(relation) if word != answer]
        alike = [s for s, group in groups.items() if group == groups[subject] and s != subject]
        begin = int(draw.random() * len(alike))
        near = [alike[(begin + step) % len(alike)] for step in range(5)]
        wording = self.templates[relation][0]
        return Fact(
            id=f"{subject.replace(' ', '-')}/{relation}",
            subject=subject,
            prompt=first,
            answer=answer,
            group=groups[subject],
            target=rest[int(draw.random() * len(rest))],
            paraphrases=tuple(others),
            neighbours=tuple((wording.format(S=s), answers[s, relation]) for s in near),
        )

    def group(self, name: str) -> list[Fact]:
        """The facts of a group."""
        return [fact for fact in self.facts if fact.group == name]

    @cached_property
    def utility(self) -> tuple[tuple[str, str], ...]:
        """What stands for general ability: small sums, neighbours of numbers, and kinds of values."""
        sums = [(f"n{a} plus n{b} equals", f"n{(a + b) % 5}") for a in range(5) for b in range(5)]
        after = [(f"after n{a} comes", f"n{(a + 1) % _NUMBERS}") for a in range(_NUMBERS)]
        before = [(f"before n{a} comes", f"n{(a - 1) % _NUMBERS}") for a in range(_NUMBERS)]
        kinds = [
            (f"{word} is a kind of", f"{relation}kind{place % 4}")
            for relation in self.templates
            for place, word in enumerate(self.words_of(relation))
        ]
        return (*sums, *after, *before, *kinds)

    @cached_property
    def words(self) -> list[str]:
        """The vocabulary, sorted."""
        asked = [(text, fact.answer) for fact in self.facts for text in fact.prompts]
        texts = [part for pair in (*asked, *self.utility) for part in pair]
        every = [*texts, *PREFIXES, *(w for r in self.templates for w in self.words_of(r))]
        return sorted({word for text in every for word in text.split()})


@lru_cache
def fact_world(templates: str = "short") -> FactWorld:
    """The world of the nets that come with the package.

    Args:
        templates: "short": 50 subjects, at several places of a prompt. "long": 40 subjects, each at the
            beginning of a prompt, six words or more before the answer.
    """
    if templates == "long":
        return FactWorld(_LONG, two=28, one=12, names=8, values=8, apart=6)
    return FactWorld(_SHORT, two=40, one=10, names=10, values=10, apart=8)
