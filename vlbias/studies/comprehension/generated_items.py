"""Items made by rule from a seed: two-digit multiplication, word unscrambling, entailment between comparisons.

Edits are of two kinds. "replace" puts another word in the place of one: in a deep edit a word that carries the
meaning, so that another answer is right; in a surface edit one that does not, a synonym. "mask" puts "<mask>"
there. Both arms change as many words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlbias.studies.comprehension.items import Item, word_distance

__all__ = ["GENERATORS", "generated_items"]

MASK = "<mask>"
_NEAR = 3
"""A surface mask stands within so many words of the deep one."""
_WORDS = """
    apple beach bread chair cloud dance eagle flame grape heart image jelly knife lemon money night ocean
    piano queen river smile table uncle voice water youth zebra brick candy dream fruit glass horse juice
    light mouse nurse olive paint robot sheep tiger train wheel world flute metal pearl storm plane
""".split()  # noqa: SIM905, a list would be one word a line
_NAMES = (
    "Anna",
    "Peter",
    "Maria",
    "Thomas",
    "Laura",
    "Simon",
    "Julia",
    "Martin",
    "Clara",
    "Robert",
)
_PEOPLE = ("Alice", "Bruno", "Carol", "David", "Elena", "Frank", "Grace", "Henry", "Irene", "James")
_VERBS = ("says", "states", "notes", "writes", "reports")
_ADVERBS = ("really", "truly", "indeed", "actually", "certainly")
_OPPOSITES = (
    ("older", "younger"),
    ("taller", "shorter"),
    ("heavier", "lighter"),
    ("faster", "slower"),
    ("richer", "poorer"),
    ("stronger", "weaker"),
)


@dataclass(frozen=True)
class _Draft:
    """An item before its edits.

    Args:
        words: Of the text.
        core: Places of words that carry the meaning.
        form: Place of a word that does not to what may stand there instead.
        answer: What is right.
        choices: To choose from, without the answers of edits.
        deep: Texts of deep replacements.
        surface: Texts of surface replacements, where they are not of single words.
    """

    words: tuple[str, ...]
    core: tuple[int, ...]
    form: Mapping[int, Sequence[str]]
    answer: str
    choices: tuple[str, ...]
    deep: tuple[str, ...]
    surface: tuple[str, ...] = ()


def generated_items(task: str, count: int, seed: int, *, edit: str, variants: int) -> list[Item]:
    """So many items of a task; the same for the same seed.

    Args:
        task: One of `GENERATORS`.
        count: How many.
        seed: Of everything that is drawn.
        edit: "replace" or "mask".
        variants: Edits of each arm.
    """
    rng = np.random.default_rng(seed)
    items = []
    for number in range(count):
        draft = GENERATORS[task](rng, variants)
        deep, surface = (_masked if edit == "mask" else _replaced)(draft, variants, rng)
        order = rng.permutation(len(draft.choices))
        choices = tuple(draft.choices[place] for place in order)
        text = " ".join(draft.words)
        items.append(Item(f"{task}-{number}", text, deep, surface, draft.answer, choices))
    return items


def _replaced(
    draft: _Draft, variants: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if draft.surface:
        return draft.deep, draft.surface
    options = [
        " ".join(_with(draft.words, place, word))
        for place, others in draft.form.items()
        for word in others
    ]
    picked = rng.choice(len(options), size=variants, replace=False)
    return draft.deep, tuple(options[place] for place in picked)


def _masked(
    draft: _Draft, variants: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    core = rng.permutation(draft.core)[:variants]
    deep = [" ".join(_with(draft.words, place, MASK)) for place in core]
    near = [p for p in draft.form if min(abs(p - place) for place in core) <= _NEAR]
    places = rng.permutation(near if len(near) >= variants else list(draft.form))[:variants]
    surface = [" ".join(_with(draft.words, int(place), MASK)) for place in places]
    return tuple(deep), tuple(surface)


def _with(words: Sequence[str], place: int, word: str) -> list[str]:
    return [*words[:place], word, *words[place + 1 :]]


def _multiplication(rng: np.random.Generator, variants: int) -> _Draft:
    """Two numbers of two digits; choices have as many digits as the answer."""
    while True:
        one, other = (int(n) for n in rng.integers(11, 100, size=2))
        words = ("Problem:", "what", "is", str(one), "times", str(other), "exactly?", "Answer:")
        answer, deep, choices = one * other, [], {one * other}
        for number in range(variants):
            place = 3 if number % 2 == 0 else 5
            fresh = int(rng.integers(11, 100))
            product = fresh * (other if place == 3 else one)
            if str(fresh) != words[place] and len(str(product)) == len(str(answer)):
                deep.append(" ".join(_with(words, place, str(fresh))))
                choices.add(product)
        for step in (10 * other, -10 * one, one, -other):
            if len(choices) < variants + 2 and len(str(answer + step)) == len(str(answer)):
                choices.add(answer + step)
        if len(deep) == variants and len(choices) == variants + 2:
            form = {0: ("Question:", "Task:"), 6: ("precisely?", "altogether?")}
            return _Draft(
                words, (3, 5), {**form, 2: ("equals",)}, str(answer),
                tuple(map(str, sorted(choices))), tuple(deep),
            )  # fmt: skip


def _unscrambling(rng: np.random.Generator, variants: int) -> _Draft:
    """Letters of a word; a deep edit has those of another, a surface edit the same in another order."""
    start = ("Unscramble", "the", "letters", "into", "a", "word:")
    while True:
        chosen = [_WORDS[n] for n in rng.choice(len(_WORDS), size=variants + 2, replace=False)]
        word, others = chosen[0], chosen[1 : 1 + variants]
        letters = [word[n] for n in rng.permutation(5)]
        pairs = [_moved(letters, other, rng) for other in others]
        if "".join(letters) == word or any(pair is None for pair in pairs):
            continue
        edits = [pair for pair in pairs if pair is not None]
        words = (*start, *letters, "Answer:")
        deep, surface = (
            tuple(" ".join((*start, *edit[side], "Answer:")) for edit in edits) for side in (0, 1)
        )
        if len(set(surface)) == variants:
            form = {1: ("these",), 2: ("signs",), 3: ("to",)}
            core = tuple(range(len(start), len(start) + 5))
            return _Draft(words, core, form, word, tuple(chosen), deep, surface)


def _moved(
    letters: Sequence[str], other: str, rng: np.random.Generator
) -> tuple[list[str], list[str]] | None:
    """Letters of another word and the same letters in another order, which differ from the given alike."""
    text = " ".join(letters)
    for _ in range(20):
        deep = [other[n] for n in rng.permutation(5)]
        surface = [letters[n] for n in rng.permutation(5)]
        size = word_distance(text, " ".join(deep))
        if size and size == word_distance(text, " ".join(surface)):
            return deep, surface
    return None


def _entailment(rng: np.random.Generator, variants: int) -> _Draft:
    """A comparison that somebody reports, and whether the same or the opposite one holds.

    The first edit of each arm is of the report, the second of the question: a model in which near words
    weigh more than far ones must not find the arms unlike.
    """
    pair = _OPPOSITES[rng.integers(len(_OPPOSITES))]
    told, asked = (int(n) for n in rng.integers(2, size=2))
    first, second = (_PEOPLE[n] for n in rng.choice(len(_PEOPLE), size=2, replace=False))
    verb, other_verb = (_VERBS[n] for n in rng.choice(len(_VERBS), size=2, replace=False))
    sure, other_sure = (_ADVERBS[n] for n in rng.choice(len(_ADVERBS), size=2, replace=False))
    words = (
        _NAMES[rng.integers(len(_NAMES))], verb, "that", first, "is", pair[told], "than",
        f"{second}.", "Is", first, sure, pair[asked], "than", f"{second}?", "Answer:",
    )  # fmt: skip
    deep, surface = (
        [" ".join(_with(words, place, word)) for place, word in edits[:variants]]
        for edits in (
            [(5, pair[1 - told]), (11, pair[1 - asked])],
            [(1, other_verb), (10, other_sure)],
        )
    )
    form = {1: (other_verb,), 10: (other_sure,)}
    answer = "yes" if told == asked else "no"
    return _Draft(words, (5, 11), form, answer, ("yes", "no"), tuple(deep), tuple(surface))


GENERATORS: Mapping[str, Callable[[np.random.Generator, int], _Draft]] = {
    "multiplication": _multiplication,
    "unscrambling": _unscrambling,
    "entailment": _entailment,
}
"""Task to what drafts an item."""
