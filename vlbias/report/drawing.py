"""How figures look: their colours, and a figure as SVG that follows the page into the dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, ScalarFormatter

from vlbias.report.told import with_titles

__all__ = ["BLUE", "GREY", "MARKS", "ORANGE", "SERIES", "finish_rows", "numbered", "svg"]

BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#718096"
SERIES = (
    BLUE, ORANGE, "#2f855a", "#6b46c1", "#b7791f", "#d53f8c", "#0f766e", "#7b341e", GREY, "#1a365d",
)  # fmt: skip
"""Colours of series. The page names each as a variable, so that the dark scheme can lighten it."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
"""Marks of series, so that none is told by its colour alone."""

_INK = {"#000000": "--ink", "#ffffff": "--paper"}
_NAMES = {**_INK, **{colour: f"--series-{number}" for number, colour in enumerate(SERIES)}}
_COLOUR = re.compile(r"(?P<what>fill|stroke): (?P<colour>#[0-9a-f]{6})")
_ID = re.compile(r' id="([^"]+)"')
_NAMED = re.compile(r' id="|url\(#|href="#')
_FIXED = {"svg.hashsalt": "vlbias", "svg.fonttype": "none"}


def finish_rows(axis: Axes, names: Sequence[str], label: str) -> None:
    """Names of the rows, a line at 0, what the axis means, and the legend above."""
    axis.set_yticks(range(len(names)), names)
    axis.axvline(0, color=GREY, lw=0.8)
    axis.set_xlabel(label)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0, labelsize=8)
    axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def svg(figure: matplotlib.figure.Figure) -> str:
    """The figure as one SVG element: text as text, colours as variables, no id that nothing names.

    Names stand as they are: a dollar sign begins no formula.

    Every colour keeps its value behind the variable, so that the figure alone looks the same.
    """
    figure.patch.set_alpha(0.0)
    for axis in figure.axes:
        axis.patch.set_alpha(0.0)
    _refuse_formulas(figure)
    text = with_titles(figure, lambda: _drawn(figure))
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r' xmlns:(?:cc|dc|rdf|ns\d+)="[^"]*"', "", text)  # of the metadata alone
    text = _ID.sub(lambda hit: hit.group() if f"#{hit.group(1)}" in text else "", text)
    return _COLOUR.sub(_named, text)


def _drawn(figure: matplotlib.figure.Figure) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context(_FIXED):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _refuse_formulas(figure: matplotlib.figure.Figure) -> None:
    """Let no text be read as a formula but the powers of ten that axes write themselves."""
    lines = [line for axes in figure.axes for line in (axes.xaxis, axes.yaxis)]
    powers = {
        label
        for line in lines
        if isinstance(line.get_major_formatter(), LogFormatter | ScalarFormatter)
        for label in line.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        if text not in powers:
            text.set_parse_math(False)


def numbered(text: str, number: int) -> str:
    """An SVG element whose ids begin with a number, so that several can stand on one page."""
    return _NAMED.sub(rf"\g<0>f{number}-", text)


def _named(hit: re.Match[str]) -> str:
    colour = hit["colour"]
    value = f"var({_NAMES[colour]}, {colour})" if colour in _NAMES else colour
    return f"{hit['what']}: {value}"
