"""Texts that are longer than a model takes: refused by name, before a tensor is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from vlbias.errors import BadModel

__all__ = ["refuse_long_texts"]


def refuse_long_texts(
    model: str, texts: Sequence[str], ids: Sequence[Sequence[int]], limit: int
) -> None:
    """Nothing, if no text has too many tokens.

    Args:
        model: Its name.
        texts: As they are given.
        ids: The tokens of each text, not padded and not cut.
        limit: Most tokens that the model takes.

    Raises:
        BadModel: names the longest text.
    """
    longest = max(range(len(texts)), key=lambda i: len(ids[i]), default=0)
    if texts and len(ids[longest]) > limit:
        raise BadModel(
            f"{model}: the text {texts[longest][:80]!r} has {len(ids[longest])} tokens, the model takes "
            f"{limit}; use a shorter prompt or caption"
        )
