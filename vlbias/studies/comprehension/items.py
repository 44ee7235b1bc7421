"""Items in their worlds: the original, deep edits that change the meaning, surface edits that keep it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlbias.errors import BadData

__all__ = ["WORLDS", "Item", "Question", "refuse_items", "word_distance"]

WORLDS = ("original", "deep", "surface")


@dataclass(frozen=True)
class Question:
    """What a subject is asked.

    Args:
        text: The whole text, up to where the answer begins.
        choices: Answers to choose from; empty where any may be given.
    """

    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One item.

    Args:
        id: Unique and stable.
        original: As it is asked.
        deep: Edits that change meaning and form.
        surface: Edits of the form alone.
        answer: What is right for the original.
        choices: Answers to choose from, the right one among them; empty where any may be given.
        cluster: What is resampled together; the item alone if not given.
    """

    id: str
    original: str
    deep: tuple[str, ...]
    surface: tuple[str, ...]
    answer: str
    choices: tuple[str, ...] = ()
    cluster: str = ""

    def worlds(self) -> Iterator[tuple[str, int, str]]:
        """World, number of the variant, and text."""
        yield "original", 0, self.original
        for world, texts in (("deep", self.deep), ("surface", self.surface)):
            for number, text in enumerate(texts):
                yield world, number, text

    @property
    def key(self) -> str:
        """All of it, for the key of a cell."""
        return repr(self)

    @property
    def said(self) -> str:
        """The original, for the table of samples."""
        return self.original

    def question(self, text: str) -> Question:
        """What is asked with a text."""
        return Question(text, self.choices)

    def strength(self, text: str) -> None:
        """None: edits of texts are of words, each changed or not."""
        return None

    def size(self, text: str) -> int:
        """Words in which a text differs from the original."""
        return word_distance(self.original, text)


def word_distance(one: str, other: str) -> int:
    """Words that are put in, taken out or replaced to make one text the other (Levenshtein, on words)."""
    first, second = one.split(), other.split()
    row = list(range(len(second) + 1))
    for i, word in enumerate(first, 1):
        corner, row[0] = row[0], i
        for j, match in enumerate(second, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (word != match))
    return row[-1]


def refuse_items(items: Sequence[Item], *, scored: bool) -> None:
    """Nothing, if items can be asked and told apart.

    Args:
        items: All of a study.
        scored: Whether answers are scored as candidates.

    Raises:
        BadData: names the item, what is wrong with it and what to do.
    """
    if not items:
        raise BadData("no item: give one or more")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise BadData(f"item {item.id!r} stands twice; give every item an id of its own")
        seen.add(item.id)
        _refuse_edits(item)
        if item.choices and item.answer not in item.choices:
            raise BadData(
                f"item {item.id!r}: the answer {item.answer!r} is not among the choices {item.choices}"
            )
        if scored:
            _refuse_choices(item)


def _refuse_edits(item: Item) -> None:
    for world, texts in (("deep", item.deep), ("surface", item.surface)):
        if not texts:
            raise BadData(f"item {item.id!r} has no {world} edit; give one or more of each")
        for text in texts:
            if text == item.original:
                raise BadData(
                    f"item {item.id!r}: a {world} edit equals the original; an edit must change the text"
                )


def _refuse_choices(item: Item) -> None:
    if len(set(item.choices)) < 2:
        raise BadData(
            f"item {item.id!r}: choices {item.choices}; scoring takes two or more that differ, or set "
            'answers = "written"'
        )
    for one, other in itertools.permutations(item.choices, 2):
        if other.startswith(one):
            raise BadData(
                f"item {item.id!r}: choice {one!r} is the beginning of {other!r}, so that its probability "
                "holds that of the other; word the choices so that none begins another"
            )
