"""The three types of heads: in which pairs of prompts, and at which tokens, each is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["HEAD_TYPES", "LAST", "RULES", "SITES", "THIRD", "HeadType"]

RULES = ("ABA", "ABB")
"""What the third item of an example repeats: its first, or its second."""
THIRD, LAST = "third", "last"
SITES: Mapping[str, str] = {THIRD: "third", LAST: "-1"}
"""Name of a set of tokens to its positions in the address of a site."""


@dataclass(frozen=True)
class HeadType:
    """A type of heads.

    Args:
        name: What it does.
        pairs: Kind of the pairs of prompts in which it is scored, "abstract" or "token".
        site: Tokens at which its output is exchanged: all third items of the examples, or the last token.
    """

    name: str
    pairs: str
    site: str


HEAD_TYPES = (
    HeadType("abstraction", "abstract", THIRD),
    HeadType("induction", "abstract", LAST),
    HeadType("retrieval", "token", LAST),
)
"""Symbol abstraction, symbolic induction and retrieval heads, in the published order of layers."""
