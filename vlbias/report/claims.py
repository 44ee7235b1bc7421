"""Claims: the one table from which a page builds its sentences.

A claim names what it asserts, the test behind it and its error. A page can print no finding that is not a
claim: `Section` takes sentences, and only a claim makes one. `docs/claims.md` is written from the claims of
all kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Claim", "Sentence"]


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
        return Sentence(self.text.format(**values), self.name, self.exploratory)
