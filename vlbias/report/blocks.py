"""What a page is made of: parts of blocks, each a title, a text, and a table or a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.claims import Sentence
from vlbias.report.drawing import svg
from vlbias.report.tables import html

__all__ = ["Block", "Guidance", "Part", "Section", "block"]


@dataclass(frozen=True)
class Block:
    """One step of a page.

    Args:
        title: Its heading.
        text: What is shown, how it is to be read, and what it does not say.
        table: HTML, or nothing.
        svg: A figure, or nothing.
        alt: What is seen in the figure, for those who do not see it.
        folded: Whether the table waits behind its title.
        gallery: HTML of pictures, or nothing.
    """

    title: str
    text: str
    table: str = ""
    svg: str = ""
    alt: str = ""
    folded: bool = False
    gallery: str = ""


@dataclass(frozen=True)
class Part:
    """Blocks that answer one question.

    Args:
        title: The question's name.
        blocks: In their order.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Guidance:
    """How the numbers of a page are to be read and worded; parts that several runs share stand once.

    Args:
        limits: Sentences on what the numbers do not say.
        wording: What to write, what not to write, and why.
        glossary: Words of the page and what they mean.
    """

    limits: Sequence[str] = ()
    wording: Sequence[tuple[str, str, str]] = ()
    glossary: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Section:
    """What a page says of one run.

    Args:
        headline: The finding, of a claim.
        readings: Further findings, each of a claim.
        parts: The blocks.
        guidance: How the numbers are to be read and worded.
        task: What the model does, as model cards of Hugging Face name it.
        metrics: Numbers for a model card: type, name, value, and args that determine it.
    """

    headline: Sentence
    readings: Sequence[Sentence]
    parts: Sequence[Part]
    guidance: Guidance = Guidance()
    task: str = "other"
    metrics: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for said in (self.headline, *self.readings):
            if not isinstance(said, Sentence):
                raise TypeError(
                    f"a page prints what a Claim says, got the plain text {said!r}; see docs/claims.md"
                )


def block(
    title: str,
    text: str,
    *,
    table: pd.DataFrame | None = None,
    figure: Figure | None = None,
    alt: str = "",
    folded: bool = False,
) -> Block:
    """A block of a frame, a figure, or both; without `alt`, title and text describe the figure."""
    shown = "" if table is None else html(table, title)
    drawn = "" if figure is None else svg(figure)
    return Block(title, text, shown, drawn, alt or f"{title}. {text}", folded)
