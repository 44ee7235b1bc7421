"""Prompts with their answers, to forget or to retain."""

from __future__ import annotations

from collections.abc import Sequence

from vlbias.errors import BadData

__all__ = ["Item", "refuse_same"]

Item = tuple[str, str]
"""A prompt and its answer."""


def refuse_same(forget: Sequence[Item], retain: Sequence[Item]) -> None:
    """Nothing, if there are items to forget and others to retain.

    Raises:
        BadData: otherwise; names what is in both.
    """
    for name, items in (("forget", forget), ("retain", retain)):
        if not items:
            raise BadData(f"there is nothing to {name}: give one prompt with its answer or more")
    both = sorted({prompt for prompt, _ in forget} & {prompt for prompt, _ in retain})
    if both:
        shown = ", ".join(map(repr, both[:10])) + (" …" if len(both) > 10 else "")
        raise BadData(
            f"{len(both)} prompts are to be forgotten and to be retained: {shown}; take each into one set"
        )
