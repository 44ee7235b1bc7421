"""The sentences that stand for categories and perceived gender."""

from __future__ import annotations

from collections.abc import Sequence

from reference.photos import article

__all__ = ["PERSON_WORDS", "gender_prompts", "gendered_prompts", "object_prompts"]

PERSON_WORDS = ("man", "woman", "person")


def object_prompts(categories: Sequence[str]) -> list[str]:
    """One sentence per category without a person word: "a photo of a dog"."""
    return [f"a photo of {article(name)}" for name in categories]


def gendered_prompts(categories: Sequence[str], words: Sequence[str]) -> list[str]:
    """One sentence per category with a person word: "a photo of a man with a dog".

    The category "person" has no second noun to name and becomes "a photo of a man".

    Args:
        categories: Names of the categories.
        words: The person word of each, from `PERSON_WORDS`.
    """
    pairs = zip(categories, words, strict=True)
    return [
        f"a photo of {article(word)}" + ("" if name == "person" else f" with {article(name)}")
        for name, word in pairs
    ]


def gender_prompts() -> list[str]:
    """The two sentences that differ in the perceived gender alone, masculine first."""
    return [f"a photo of {article(word)}" for word in PERSON_WORDS[:2]]
