"""Special tokens written in a text: a tokenizer reads them as the tokens that it sets itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlbias.errors import BadData

__all__ = ["refuse_special_tokens"]


def refuse_special_tokens(model: str, tokenizer: Any, texts: Sequence[str]) -> None:
    """Nothing, if no text spells out a special token, such as "<|endoftext|>" or "[SEP]".

    Tokens of one sign, such as the "!" with which some tokenizers pad, are words of a text as well.

    Args:
        model: Its name.
        tokenizer: Of transformers or of open_clip.
        texts: As they are given.

    Raises:
        BadData: names the text and the token.
    """
    special = _special_tokens(tokenizer)
    for text in texts:
        folded = text.casefold()
        written = [token for token in special if token.casefold() in folded]
        if written:
            raise BadData(
                f"the text {text[:80]!r} holds {written[0]!r}, which {model} reads as a token of its own and "
                "sets where it belongs: take it out"
            )


def _special_tokens(tokenizer: Any) -> list[str]:
    inner = getattr(tokenizer, "tokenizer", tokenizer)  # open_clip wraps those of transformers
    tokens = getattr(inner, "all_special_tokens", None)
    if tokens is None:
        tokens = [inner.decoder[number] for number in inner.all_special_ids]
    return [token for token in tokens if len(token) > 1]
