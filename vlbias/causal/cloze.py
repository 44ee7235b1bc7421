"""A text with a gap and the words that may fill it: what language models are asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vlbias.errors import BadData

__all__ = ["Cloze", "Completion", "Noise"]


@dataclass(frozen=True, slots=True)
class Cloze:
    """A text up to its gap, candidates for the gap, and named parts of the text.

    Args:
        text: What stands before the gap, without the space that ends it: "The nurse said that".
        candidates: What may fill the gap, one or several words each, joined to the text by `joint`.
            The order is that of all readouts.
        spans: Name, first and one past the last character of parts of the text; a mediator's positions
            may be such a name. The whole text is the span "prompt", its last token position -1.
            Several spans of one name are one.
        after: What follows the gap; read by masked language models only.
        joint: What stands between the text and a candidate: a space, or nothing.

    Raises:
        BadData: if a candidate is empty, repeats or has space at its ends, a span is outside the text, or
            the joint is neither a space nor nothing.
    """

    text: str
    candidates: tuple[str, ...]
    spans: tuple[tuple[str, int, int], ...] = ()
    after: str = ""
    joint: str = " "
    least: ClassVar[int] = 2

    def __repr__(self) -> str:
        """As keys of runs hold it: a joint of one space stands in none."""
        parts = [
            f"{name}={getattr(self, name)!r}" for name in ("text", "candidates", "spans", "after")
        ]
        parts += [f"joint={self.joint!r}"] if self.joint != " " else []
        return f"Cloze({', '.join(parts)})"

    def __post_init__(self) -> None:
        if not self.text.strip() or self.text != self.text.strip():
            raise BadData(f"text {self.text!r}: expected words without space at the ends")
        if not isinstance(self.candidates, tuple):
            raise BadData(
                f"candidates {self.candidates!r} of {self.text!r}: expected a tuple of texts"
            )
        different = len(set(self.candidates))
        if different < self.least or different < len(self.candidates):
            count = "two or more" if self.least > 1 else "one or more"
            raise BadData(
                f"candidates {self.candidates} of {self.text!r}: expected {count}, all different"
            )
        if not all(candidate.strip() for candidate in self.candidates):
            raise BadData(f"candidates {self.candidates} of {self.text!r}: one is empty")
        if any(candidate != candidate.strip() for candidate in self.candidates):
            raise BadData(
                f"candidates {self.candidates} of {self.text!r}: expected no space at their ends; the one "
                "that joins them to the text is put there"
            )
        if self.joint not in ("", " "):
            raise BadData(f"joint {self.joint!r} of {self.text!r}: expected a space or nothing")
        for name, start, end in self.spans:
            if not 0 <= start < end <= len(self.text):
                raise BadData(
                    f"span {name!r} of {self.text!r} is ({start}, {end}), expected characters of the text"
                )


@dataclass(frozen=True, slots=True)
class Noise:
    """Normal noise on the embeddings of a span's tokens.

    Args:
        span: Name of the span.
        sd: Standard deviation, in units of the embeddings.
        seed: Of the noise; the same numbers for the same seed, width and number of tokens.
    """

    span: str
    sd: float
    seed: tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Completion(Cloze):
    """A text and what may go on with it, one candidate or more; see `Cloze`.

    Args:
        noise: Of the text's embeddings; none if not given.
    """

    least: ClassVar[int] = 1
    noise: Noise | None = None

    def __repr__(self) -> str:
        """All of it: two completions of one text may differ in their noise alone."""
        return f"Completion({Cloze.__repr__(self)}, noise={self.noise!r})"
