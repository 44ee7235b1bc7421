"""Claims: the one table from which a page builds its sentences.

A claim names what it asserts, the test behind it and its error. A page can print no finding that is not a
claim: `Section` takes sentences, and only a claim makes one. `docs/claims.md` is written from the claims of
all kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Claim", "Sentence", "claim_named", "document"]


class Sentence(str):
    """A finding in words.

    Args:
        text: The words.
        claim: Name of the claim that it is made of.
        exploratory: Whether it stands outside the family whose error the page controls.
    """

    claim: str
    exploratory: bool

    def __new__(cls, text: str, claim: str, exploratory: bool = False) -> Sentence:
        """Words that remember their claim."""
        sentence = super().__new__(cls, text)
        sentence.claim = claim
        sentence.exploratory = exploratory
        return sentence


@dataclass(frozen=True)
class Claim:
    """One sentence that a page may print.

    Args:
        name: Its key in `docs/claims.md`.
        text: The sentence, with names of values in braces as `str.format` reads them.
        estimand: What it asserts something about.
        test: The test or the limits that decide whether it is printed.
        error: The error that this holds, and over which family.
        evidence: Where that was simulated or tested.
        exploratory: Whether it stands outside the family whose error the page controls.
    """

    name: str
    text: str
    estimand: str
    test: str
    error: str
    evidence: str
    exploratory: bool = False

    def say(self, **values: object) -> Sentence:
        """The sentence with its values.

        Raises:
            KeyError: if a value of the text is missing.
        """
        said = self.text.format(**values)
        marked = f"Exploratory: {said}" if self.exploratory else said
        return Sentence(marked, self.name, self.exploratory)


def claim_named(claims: Sequence[Claim], name: str) -> Claim:
    """The claim of a name among those of a kind of study."""
    return next(one for one in claims if one.name == name)


_HEAD = """# Claims: what a page can say

<!-- Written by `vlbias list claims > docs/claims.md`; do not edit. -->

A page of vlbias prints no finding that is not in this table: its sentences are made from it. For each there
is the quantity that it is about, the test or the limits behind it, the error that these hold, and where that
was simulated or tested. Words in braces are values of the run. Exploratory sentences stand outside the family
whose error a page controls, and are marked so.
"""


def document(kinds: Mapping[str, tuple[str, Sequence[Claim]]]) -> str:
    """The claims of kinds of study as one Markdown document.

    Args:
        kinds: Name of a kind to what it is for, and its claims.
    """
    parts = [_HEAD]
    for name, (about, claims) in kinds.items():
        parts.append(f"## Studies of kind `{name}`: {about}\n")
        parts += [_described(one) for one in claims]
    return "\n".join(parts)


def _described(one: Claim) -> str:
    mark = ", exploratory" if one.exploratory else ""
    return (
        f"### `{one.name}`{mark}\n\n> {one.text}\n\n"
        f"- About: {one.estimand}.\n- Decided by: {one.test}.\n- Error: {one.error}.\n"
        f"- Shown in: {one.evidence}.\n"
    )
