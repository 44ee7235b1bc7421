"""The gendered words of a text: where each stands, what gender it tells, and its pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from vlbias.data.compounds import EXCEPTIONS, PHRASES, compound
from vlbias.data.english import INVISIBLE, is_english, plain
from vlbias.data.referents import of_no_person
from vlbias.data.word_lists import ALIASES, FEMININE_ONLY, PAIRS, TITLE, Pair

__all__ = ["Gendered", "Sex", "gendered", "pair_of"]

Sex = Literal["masculine", "feminine", "both"]

_BY_WORD: dict[str, tuple[Sex, Pair]] = {
    **{pair.masculine: ("masculine", pair) for pair in PAIRS},
    **{pair.feminine: ("feminine", pair) for pair in (*PAIRS, *FEMININE_ONLY)},
}
_BY_WORD |= {"mr": ("masculine", TITLE)}
_BY_WORD |= {title: ("feminine", TITLE) for title in ("ms", "mrs", "miss")}
_BY_WORD |= {alias: _BY_WORD[word] for alias, word in ALIASES.items()}

# A letter of any script, with accents written apart and with what does not show.
_L = rf"(?:[^\W\d_]|[\u0300-\u036f{INVISIBLE}])"
_BEFORE = rf"(?<![^\W\d_'’\u0300-\u036f{INVISIBLE}])"
_CHAIN = re.compile(
    # both at once: "(wo)men", "s/he", "(fe)male"; then broken at the end of a line; then words
    rf"(?P<both>(?:(?<!\w)\((?:wo\)m[ae]n|fe\)males?|s\)he)|"
    rf"{_BEFORE}(?:wo/m[ae]n|fe/males?|s/he))(?!{_L}))|"
    rf"(?P<broken>{_BEFORE}(?:wo[-‐‑]\s+m[ae]n|fe[-‐‑]\s+males?)(?!{_L}))|"
    rf"(?P<chain>{_BEFORE}{_L}+(?:[-‐‑]{_L}+)*)",
    re.IGNORECASE,
)
_PART = re.compile(rf"{_L}+")
_TAILS = (("in", "law"), ("to", "be"), ("in", "waiting"))
_PERSON = frozenset({"man", "men", "woman", "women"})
_PRONOUNS = frozenset({"he", "she", "him", "her", "his", "hers", "himself", "herself"})
_TITLES = frozenset({"mr", "mrs", "ms", "miss"})


@dataclass(frozen=True, slots=True)
class Gendered:
    """A gendered word of a text.

    Args:
        start: Where it begins.
        end: Behind its last letter.
        words: As it is counted, in lower case; two words where it tells both genders.
        sex: What it tells.
        pair: It and its counterpart.
        of_person: Whether it speaks of a person in the photo; see `vlbias.data.referents`.
    """

    start: int
    end: int
    words: tuple[str, ...]
    sex: Sex
    pair: Pair
    of_person: bool = True


def _known(word: str, written: str) -> tuple[Sex, Pair] | None:
    found = _BY_WORD.get(word)
    return found if found is not None else compound(word, written)  # type: ignore[return-value]


def pair_of(word: str) -> Pair | None:
    """The pair of a word as `Gendered.words` holds it."""
    found = _known(word, word)
    return found[1] if found else None


def gendered(text: str) -> Iterator[Gendered]:
    """The gendered words in order; none where the text is not English.

    Fixed phrases ("Isle of Man", "to man the boat") hold none, and neither do the first half of
    a hyphenated compound ("man-made"), except "mother-in-law", and a word right behind an
    apostrophe.
    """
    found = list(_gendered(text))
    if not found or not is_english(text):
        return
    phrases = [match.span() for match in PHRASES.finditer(text)]
    found = [w for w in found if not any(start <= w.start < end for start, end in phrases)]
    places = [(w.start, w.end, bool(_PRONOUNS & {*w.words})) for w in found]
    for word, other in zip(found, of_no_person(text, places), strict=True):
        yield replace(word, of_person=not other)


def _gendered(text: str) -> Iterator[Gendered]:
    for match in _CHAIN.finditer(text):
        if match["chain"] is not None:
            yield from _in_chain(text, match)
            continue
        letters = "".join(_PART.findall(match.group()))
        words = plain(letters)
        sex, pair = _BY_WORD[words]
        both = match["both"] is not None
        listed = (pair.masculine, pair.feminine) if both else (words,)
        yield Gendered(match.start(), match.end(), listed, "both" if both else sex, pair)


def _in_chain(text: str, match: re.Match[str]) -> Iterator[Gendered]:
    parts = [(part.start(), part.end()) for part in _PART.finditer(text, *match.span())]
    words = [plain(text[start:end]) for start, end in parts]
    if len(parts) > 1:
        joined = "".join(words)
        if joined in EXCEPTIONS:
            return
        whole, last = _known(joined, joined), _BY_WORD.get(words[-1])
        if whole and (last is None or last[0] != whole[0] or words[-1] in _PERSON):
            yield Gendered(*match.span(), (joined,), *whole)
            return
    counted = [len(parts) - 1]
    if tuple(words[1:]) in _TAILS:
        counted = [0]
    elif len(parts) == 2 and all(w in _BY_WORD and w not in _PRONOUNS for w in words):
        counted = [0, 1]
    for place in counted:
        start, end = parts[place]
        known = _known(words[place], text[start:end])
        if known and (words[place] not in _TITLES or _is_title(text, start, end)):
            yield Gendered(start, end, (words[place],), *known)


def _is_title(text: str, start: int, end: int) -> bool:
    """Whether "Mr", "Mrs", "Ms" or "Miss" stands before a name: "5 ms." and "to miss" do not."""
    word = plain(text[start:end])
    if word == "miss":
        return text[start] == "M" and re.match(r"\s+[A-Z]", text[end:]) is not None
    if word in ("mr", "mrs"):
        return True
    if re.search(r"\d\s*$", text[:start]):
        return False
    return (
        re.match(r"\.?\s+[A-Z]" if text[start:end] == "Ms" else r"\.\s*[A-Za-z]", text[end:])
        is not None
    )
