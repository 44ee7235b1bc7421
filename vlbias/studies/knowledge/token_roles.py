"""Roles of tokens in a prompt: those of the subject, those behind it, and the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["ROLES", "roles_of", "spans_of"]

ROLES: Mapping[str, str] = {
    "subject_first": "first token of a subject of two or more",
    "subject_middle": "tokens between the first and the last of a subject",
    "subject_last": "last token of the subject",
    "after_first": "token behind the subject, where it is not the last",
    "after_middle": "tokens between that one and the last",
    "last": "last token of the prompt, where it is not the subject's",
}
"""Role to what it is, in the order of the tokens. Tokens before the subject are the same in all worlds."""


def roles_of(offsets: Sequence[tuple[int, int]], subject: tuple[int, int]) -> dict[str, range]:
    """The tokens of each role that a prompt has.

    Args:
        offsets: First and one past the last character of each token; (0, 0) for marks.
        subject: The same of the subject.
    """
    start, end = subject
    inside = [i for i, (a, b) in enumerate(offsets) if a < end and b > start and a < b]
    first, last, final = inside[0], inside[-1], len(offsets) - 1
    found = {
        "subject_first": range(first, first + (last > first)),
        "subject_middle": range(first + 1, last),
        "subject_last": range(last, last + 1),
        "after_first": range(last + 1, last + 1 + (last + 1 < final)),
        "after_middle": range(last + 2, final),
        "last": range(final, final + (final > last)),
    }
    return {role: tokens for role, tokens in found.items() if len(tokens)}


def spans_of(
    offsets: Sequence[tuple[int, int]], roles: Mapping[str, range]
) -> tuple[tuple[str, int, int], ...]:
    """The characters of each role, as spans of a text."""
    return tuple(
        (role, offsets[tokens[0]][0], offsets[tokens[-1]][1]) for role, tokens in roles.items()
    )
