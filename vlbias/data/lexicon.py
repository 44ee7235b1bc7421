"""Counterfactual text: which words are gendered, and captions with them made neutral or swapped."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Literal

from vlbias.data.word_lists import LAST_PLACEBOS, PAIRS, PLACEBOS, PUBLISHED, UNPAIRED, Pair

__all__ = [
    "article",
    "changed_words",
    "gender_words",
    "lexicon_hash",
    "match_case",
    "neutralise",
    "placebo",
    "swap",
    "tokens",
]

Sex = Literal["masculine", "feminine"]

_BY_WORD: dict[str, tuple[Sex, Pair]] = {
    **{pair.masculine: ("masculine", pair) for pair in PAIRS},
    **{pair.feminine: ("feminine", pair) for pair in PAIRS},
}

# A word is letters; what follows an apostrophe ("man's") is not part of it, and the first half of
# a hyphenated compound ("man-made") is no word of its own.
_WORD = re.compile(r"(?<![A-Za-z'’])[A-Za-z]+(?!-?[A-Za-z])")
_CLITIC = re.compile(r"[’']s\b", re.IGNORECASE)
_NEXT = re.compile(r"\s+([A-Za-z]+)")
_PLACE = re.compile(r"\s+\{")
_ARTICLE = re.compile(r"\b([Aa]n?)(?=\s+([A-Za-z]+))")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# After these, or at the end of a clause, "her" is an object and "his" stands alone.
_CLOSED_CLASS = _words(
    "a an the and or but nor so yet as at by for from in into of off on onto out over through to "
    "toward towards under up upon down with without while when where who which that is are was "
    "were has have had be being been not it its this these those there then than if because "
    "before after during beside behind near next around about along across against between"
)
# After these, "male" and "female" are nouns though no clause ends; after other words, adjectives.
_AFTER_NOUN = _CLOSED_CLASS | _words(
    "sitting standing playing holding walking taking riding wearing serving looking eating "
    "plays rides holds stands sits walks wears looks surfing skiing running jumping talking"
)
_VOWEL = re.compile(r"(?!(?:uni|use|one|eu|ukulele))[aeiou]|hour|honest|heir", re.IGNORECASE)


def tokens(text: str) -> list[str]:
    """The words of a text as they stand, split at white space."""
    return text.split()


def changed_words(before: str, after: str) -> int:
    """How many words differ, place by place; the texts must have equally many words."""
    return sum(a != b for a, b in zip(tokens(before), tokens(after), strict=True))


def article(phrase: str) -> str:
    """The article, a or an, by the first sound of the phrase as its spelling tells."""
    return "an" if _VOWEL.match(phrase) else "a"


def match_case(word: str, like: str) -> str:
    """The word written in capitals, capitalised, or as it is, after the pattern of `like`."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def _hits(text: str) -> Iterator[tuple[re.Match[str], Sex, Pair]]:
    for match in _WORD.finditer(text):
        known = _BY_WORD.get(match.group().lower())
        if known is not None:
            yield match, *known


def gender_words(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The masculine and the feminine words of a text, in lower case and in order, repeats kept.

    Whole words of the paired table only; see `words.PAIRS` and, for what is left out,
    `words.UNPAIRED`. The first half of a hyphenated compound ("man-made") does not count.
    """
    found: dict[Sex, list[str]] = {"masculine": [], "feminine": []}
    for match, sex, _ in _hits(text):
        found[sex].append(match.group().lower())
    return tuple(found["masculine"]), tuple(found["feminine"])


def _following(text: str, end: int) -> str | None:
    """The next word within the clause, or None where the clause ends."""
    match = _NEXT.match(text, end)
    return match.group(1).lower() if match else None


def _is_possessive(text: str, end: int) -> bool:
    return (_following(text, end) or "of") not in _CLOSED_CLASS


def _neutral(text: str, match: re.Match[str], pair: Pair) -> str:
    word, end = match.group().lower(), match.end()
    if word in ("his", "her") and _is_possessive(text, end):
        return "their"
    if word in ("male", "female") and (_following(text, end) or "of") not in _AFTER_NOUN:
        return "human"  # an adjective: "a male skier" is "a human skier", not "a person skier"
    return pair.neutral


def _counterpart(text: str, match: re.Match[str], sex: Sex, pair: Pair) -> str:
    word, end = match.group().lower(), match.end()
    if word in ("his", "her") and _is_possessive(text, end):
        return "her" if word == "his" else "his"
    return pair.feminine if sex == "masculine" else pair.masculine


def _rewrite(text: str, choose: Callable[[re.Match[str], Sex, Pair], str]) -> str:
    parts: list[str] = []
    at = 0
    for match, sex, pair in _hits(text):
        new = choose(match, sex, pair)
        start, end = match.span()
        clitic = _CLITIC.match(text, end)
        parts += [text[at:start], match_case(new, match.group())]
        at = end
        if new == "they" and clitic:
            parts.append("'re")
            at = clitic.end()
    return _repair_articles(text, "".join([*parts, text[at:]]))


def _repair_articles(before: str, after: str) -> str:
    """Set a or an anew where the word behind it was replaced; the writer's slips stay."""
    old = [match.group(2) for match in _ARTICLE.finditer(before)]
    behind = iter(old)

    def repaired(match: re.Match[str]) -> str:
        following = match.group(2)
        if following == next(behind):
            return match.group(1)
        return match_case(article(following), match.group(1))

    return _ARTICLE.sub(repaired, after)


def neutralise(text: str, most: int | None = None) -> str:
    """The text with its gender words replaced by neutral words, one word for one word.

    Case and plural are kept; "her" and "his" become "their", "them" or "theirs" by what follows
    them, and "a" becomes "an" where the new word needs it. Verbs are not touched: "she rides"
    becomes "they rides", since agreement would change words that say nothing of gender ("he's"
    is the exception, as one word: "they're"). Without a parser, "her" before a bare verb
    ("watching her eat") reads as possessive.

    Args:
        text: Any text.
        most: Replace only the first so many gender words; all if not given.
    """
    left = iter(range(most)) if most is not None else itertools.count()

    def choose(match: re.Match[str], _: Sex, pair: Pair) -> str:
        return match.group() if next(left, None) is None else _neutral(text, match, pair)

    return _rewrite(text, choose)


def swap(text: str) -> str:
    """The text with every gender word replaced by its counterpart, one word for one word.

    "his" and "her" are resolved as in `neutralise`.
    """
    return _rewrite(text, lambda match, sex, pair: _counterpart(text, match, sex, pair))


def placebo(text: str, n: int, protect: frozenset[str] = frozenset()) -> str | None:
    """The text with its first `n` replaceable non-gender words exchanged for near-synonyms.

    The control of a text intervention: as many words change, none of them speaks of gender.

    Args:
        text: Any text.
        n: How many words to change; 0 gives the text back.
        protect: Lower-case words to leave alone, for example those of class names.

    Returns:
        The new text, or None where fewer than `n` of its words are in `words.PLACEBOS`.
    """
    if n < 0:
        raise ValueError(f"n is {n}, expected 0 or more")
    allowed = PLACEBOS.keys() - protect
    found = [
        match
        for match in _WORD.finditer(text)
        if match.group().lower() in allowed
        # An article before a place to be filled must agree with what will stand there.
        and not _PLACE.match(text, match.end())
    ]
    if len(found) < n:
        return None
    found.sort(key=lambda match: (_rank(match.group().lower()), match.start()))
    for match in sorted(found[:n], key=lambda match: -match.start()):
        new = match_case(PLACEBOS[match.group().lower()], match.group())
        text = text[: match.start()] + new + text[match.end() :]
    return text


def _rank(word: str) -> int:
    return LAST_PLACEBOS.index(word) + 1 if word in LAST_PLACEBOS else 0


def lexicon_hash() -> str:
    """SHA-256 of all word tables: equal for two runs that read words alike."""
    tables = {
        "pairs": [asdict(pair) for pair in PAIRS],
        "unpaired": dict(UNPAIRED),
        "published": {name: [sorted(m), sorted(f)] for name, (m, f) in PUBLISHED.items()},
        "placebos": dict(PLACEBOS),
        "resolution": [sorted(_CLOSED_CLASS), sorted(_AFTER_NOUN)],
    }
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
