"""What a page is made of: parts of blocks, each a title, a text, and a table or a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.claims import Sentence
from vlbias.report.definitions import explained
from vlbias.report.drawing import svg
from vlbias.report.tables import html

__all__ = ["Asked", "Block", "Glance", "Guidance", "Part", "Section", "Verdict", "block"]

Asked = Literal["Which model?", "What was found?", "How much?", "Where?", "What helps?"]
"""The questions that a page answers before anything else, in this order."""

Verdict = Literal["shown", "not shown", "exploratory", "too little data", "see below"]
"""The mark of an answer: only what a test decides is "shown"."""


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
        columns: Heads of the table and what each means, as far as it is known.
        figure: What `svg` was drawn from, for files of figures.
        answer: What a comparison of runs says before everything else, or nothing.
    """

    title: str
    text: str
    table: str = ""
    svg: str = ""
    alt: str = ""
    folded: bool = False
    gallery: str = ""
    columns: Sequence[tuple[str, str]] = ()
    figure: Figure | None = None
    answer: Glance | None = None


@dataclass(frozen=True)
class Glance:
    """One answer at a glance, in words that need no glossary.

    Args:
        asked: The question.
        said: The answer, of a claim.
        number: Its number with limits and unit; empty if there is none.
        verdict: The mark before it.
    """

    asked: Asked
    said: Sentence
    number: str
    verdict: Verdict


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
        glance: At most three answers that stand before everything else; the headline if there is none.
        task: What the model does, as model cards of Hugging Face name it.
        metrics: Numbers for a model card: type, name, value, and args that determine it.
        subject: What the run is of, for the heading; its model if not given.
    """

    headline: Sentence
    readings: Sequence[Sentence]
    parts: Sequence[Part]
    guidance: Guidance = Guidance()
    glance: Sequence[Glance] = ()
    task: str = "other"
    metrics: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    subject: str = ""

    def __post_init__(self) -> None:
        for said in (self.headline, *self.readings, *(one.said for one in self.glance)):
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
    meanings: Mapping[str, str] | None = None,
) -> Block:
    """A block of a frame, a figure, or both; without `alt`, title and text describe the figure.

    Args:
        title: See `Block`, as all that follow.
        text: What is shown.
        table: The frame.
        figure: The figure.
        alt: What is seen in it.
        folded: Whether the table waits behind its title.
        meanings: What columns mean in this kind of study; see `vlbias.report.definitions.defined`.
    """
    shown = "" if table is None else html(table, title, meanings)
    drawn = "" if figure is None else svg(figure)
    columns = [] if table is None or table.empty else explained(table.columns, meanings)
    return Block(
        title,
        text,
        shown,
        drawn,
        alt or f"{title}. {text}",
        folded,
        columns=tuple(columns),
        figure=figure,
    )
