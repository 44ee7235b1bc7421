"""Which form a pronoun or a possessive has by the words around it; English only."""

from __future__ import annotations

import re

__all__ = [
    "AFTER_NOUN",
    "CLOSED_CLASS",
    "RESOLUTION",
    "is_adjective",
    "is_possessive",
    "mend_ending",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# After these, or at the end of a clause, "her" is an object and "his" stands alone.
CLOSED_CLASS = _words(
    "a an the and or but nor so yet as at by for from in into of off on onto out over through to "
    "toward towards under up upon down with without while when where who which that is are was "
    "were has have had be being been not it its this these those there then than if because "
    "before after during beside behind near next around about along across against between "
    "yesterday today tonight tomorrow now again away here once twice too alone together "
    "until since inside underneath beneath like some any what how why whether whom "
    "will would can could may might must should does did"
)
# After these, "male" and "female" are nouns though no clause ends; after other words, adjectives.
AFTER_NOUN = CLOSED_CLASS | _words(
    "sitting standing playing holding walking taking riding wearing serving looking eating "
    "plays rides holds stands sits walks wears looks surfing skiing running jumping talking"
)
# "her" before these is an object, unless a participle follows ("her neatly folded shirt").
_ADVERBS = _words(
    "quickly slowly carefully gently tightly closely quietly happily playfully softly warmly "
    "intently directly suddenly nicely safely firmly lovingly immediately politely often always "
    "sometimes soon later everywhere somewhere anywhere"
)
_HOMEWARD = _words(
    "take takes taking took taken drive drives driving drove bring brings bringing brought walk "
    "walks walking walked carry carries carrying carried send sends sending sent follow follows "
    "following followed"
)
# After these, "her" with a bare verb or a participle is an object: "watching her eat".
_LETTING = _words(
    "watch watches watching watched see sees seeing saw seen hear hears hearing heard help helps "
    "helping helped let lets letting make makes making made keep keeps keeping kept"
)
_BARE = _words(
    "eat go ride climb jump swim surf ski skate sit stand sleep perform get put cook cross hit "
    "catch throw take hold open read write learn cut blow laugh cry smile eating going riding "
    "climbing jumping swimming surfing skiing skating sitting standing sleeping performing "
    "cooking crossing hitting catching throwing taking holding opening reading cutting blowing "
    "laughing crying smiling playing eats"
)
# The same at the end of a clause: "it keeps her dry".
_STATES = _words("dry warm cool safe busy happy sad laugh wet awake calm")
_PARTICIPLE = re.compile(r"\w+(?:ed|ing|made|worn|done|cut|kept)$")
_NEXT = re.compile(r"\s+[\"“‘(]?([\w]+(?:[-‐‑'’]\w+)*)(?:\s+(\w+))?")
_BOTH = re.compile(r"(?:\s*/\s*|\s+(?:and|or|&)\s+)(his|her)\b", re.IGNORECASE)
_LAST = re.compile(r"([A-Za-z]+)\s+$")
RESOLUTION = (CLOSED_CLASS, AFTER_NOUN, _ADVERBS, _HOMEWARD, _LETTING, _BARE, _STATES)
"""All word lists that the form hangs on."""


def _following(text: str, end: int) -> tuple[str, str]:
    """The next two words within the clause, in lower case; empty where the clause ends."""
    match = _NEXT.match(text, end)
    return (match[1].lower(), (match[2] or "").lower()) if match else ("", "")


def is_possessive(text: str, start: int, end: int) -> bool:
    """Whether the "his" or "her" at that place goes with a noun behind it.

    Told by the next words and the verb before; no parser is used. "her" before a verb in its
    bare form is taken for possessive, except after verbs of seeing, helping and letting.
    """
    word = text[start:end].lower()
    both = _BOTH.match(text, end)
    if both and both[1].lower() != word:
        return is_possessive(text, both.start(1), both.end(1))
    following, second = _following(text, end)
    if not following or following in CLOSED_CLASS:
        return False
    if word != "her":
        return True
    if following in _ADVERBS:
        return _PARTICIPLE.match(second) is not None
    before = _LAST.search(text, 0, start)
    verb = before[1].lower() if before else ""
    if following == "home":
        return verb not in _HOMEWARD
    ends = following in _STATES and (not second or second in CLOSED_CLASS)
    return not (verb in _LETTING and (following in _BARE or ends))


def is_adjective(text: str, end: int) -> bool:
    """Whether the "male" or "female" that ends there goes with a noun behind it."""
    following, _ = _following(text, end)
    return bool(following) and following not in AFTER_NOUN


_CLITIC = re.compile(r"[’']s\b", re.IGNORECASE)
_HAS = re.compile(
    r"\s+(?:got|been|had|just|already|taken|gone|caught|made|put|lost|won)\b", re.IGNORECASE
)
_APOSTROPHE = re.compile(r"([’'])(?=\s+[A-Za-z])")
_QUOTE = re.compile(r"(?<!\w)[‘'](?=\w)")


def mend_ending(text: str, start: int, end: int, new: str) -> tuple[str, int]:
    """What follows the new word in place of an ending of the old one, and where the text goes on.

    "he's" becomes "they're" or "they've", "girls'" becomes "children's", "firemen's" becomes
    "firefighters'".

    Args:
        text: With the old word.
        start: Of the old word.
        end: Of the old word.
        new: The new word.
    """
    old, new = text[start:end].lower(), new.lower()
    clitic = _CLITIC.match(text, end)
    if clitic:
        if new == "they":
            return ("'ve" if _HAS.match(text, clitic.end()) else "'re"), clitic.end()
        is_plural = new.endswith("s") and not new.endswith("ss")
        return (clitic.group()[0], clitic.end()) if is_plural else ("", end)
    bare = _APOSTROPHE.match(text, end)
    opened = len(_QUOTE.findall(text, 0, start)) > len(re.findall(r"['’](?!\w)", text[:start]))
    if bare and old.endswith("s") and not new.endswith("s") and not opened:
        return bare[1] + "s", bare.end()
    return "", end
