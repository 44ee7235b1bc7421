"""Counterfactual text: which words are gendered, and captions with them made neutral or swapped."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import asdict

from vlbias.data.compounds import EXCEPTIONS, PHRASES, STEMS
from vlbias.data.english import ENGLISH, FOREIGN
from vlbias.data.gendered import Gendered, gendered
from vlbias.data.pronoun_forms import RESOLUTION, is_adjective, is_possessive, mend_ending
from vlbias.data.referents import NOT_OF_PERSONS, PERSONS
from vlbias.data.word_lists import (
    ALIASES,
    FEMININE_ONLY,
    LAST_PLACEBOS,
    PAIRS,
    PLACEBOS,
    PUBLISHED,
    TITLE,
    UNPAIRED,
)

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

# A word is letters; what follows an apostrophe ("man's") is not part of it, and the first half of
# a hyphenated compound ("man-made") is no word of its own.
_WORD = re.compile(r"(?<![A-Za-z'’])[A-Za-z]+(?!-?[A-Za-z])")
_PLACE = re.compile(r"\s+\{")
_ARTICLE = re.compile(r"\b([Aa]n?)(?=\s+\(?([A-Za-z]+))")
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


def gender_words(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The masculine and the feminine words of a text, in lower case and in order, repeats kept.

    Whole words of `word_lists` and compounds in -man and -woman; see `gendered`. A text that is
    not English has none.
    """
    found: dict[str, list[str]] = {"masculine": [], "feminine": []}
    for hit in gendered(text):
        if hit.sex == "both":
            found["masculine"].append(hit.words[0])
            found["feminine"].append(hit.words[1])
        else:
            found[hit.sex].extend(hit.words)
    return tuple(found["masculine"]), tuple(found["feminine"])


def _neutral(text: str, hit: Gendered) -> str:
    word = hit.words[0]
    if word in ("his", "her") and is_possessive(text, hit.start, hit.end):
        return "their"
    if word in ("male", "female") and is_adjective(text, hit.end):
        return "human"  # "a male skier" is "a human skier", not "a person skier"
    return hit.pair.neutral


def _counterpart(text: str, hit: Gendered) -> str:
    word = hit.words[0]
    if hit.sex == "both":
        return text[hit.start : hit.end]
    if word in ("his", "her") and is_possessive(text, hit.start, hit.end):
        return "her" if word == "his" else "his"
    return hit.pair.feminine if hit.sex == "masculine" else hit.pair.masculine


def _rewrite(text: str, choose: Callable[[Gendered], str]) -> str:
    parts: list[str] = []
    at = 0
    for hit in gendered(text):
        old = text[hit.start : hit.end]
        new = choose(hit)
        parts.append(text[at : hit.start])
        at = hit.end
        if new == old:
            parts.append(old)
            continue
        ending, at = mend_ending(text, hit.start, hit.end, new)
        parts += [match_case(new, old.lstrip("(")), ending]
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
    is the exception, as one word: "they're" or "they've"). For what is told of "her" without a
    parser, see `is_possessive`.

    Args:
        text: Any text.
        most: Replace only the first so many gender words; all if not given.
    """
    left = iter(range(most)) if most is not None else itertools.count()

    def choose(hit: Gendered) -> str:
        return text[hit.start : hit.end] if next(left, None) is None else _neutral(text, hit)

    return _rewrite(text, choose)


def swap(text: str) -> str:
    """The text with every gender word replaced by its counterpart, one word for one word.

    "his" and "her" are resolved as in `neutralise`.
    """
    return _rewrite(text, lambda hit: _counterpart(text, hit))


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
        "feminine only": [asdict(pair) for pair in FEMININE_ONLY],
        "aliases": dict(ALIASES),
        "title": asdict(TITLE),
        "compounds": [sorted(EXCEPTIONS), sorted(STEMS), PHRASES.pattern],
        "languages": [sorted(ENGLISH), sorted(FOREIGN)],
        "no persons": [NOT_OF_PERSONS.pattern, sorted(PERSONS)],
        "resolution": [sorted(words) for words in RESOLUTION],
    }
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
