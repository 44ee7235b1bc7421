"""Values of single marks of a figure: what a reader is told who points at a cell or a point."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

__all__ = ["tell", "value_in_words", "with_titles"]

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_TOLD: WeakKeyDictionary[Artist, tuple[str, ...]] = WeakKeyDictionary()
_MARKS = {f"{{{_SVG}}}use", f"{{{_SVG}}}path"}


def tell(artist: Artist, texts: Iterable[str]) -> None:
    """Give every mark of an artist its words, in the order in which they are drawn.

    Args:
        artist: A line with markers, a mesh of cells, or a patch.
        texts: One per mark; marks without a number are not drawn and have none.
    """
    _TOLD[artist] = tuple(texts)


def value_in_words(
    name: str, row: pd.Series[Any] | Mapping[str, float], value: str = "estimate"
) -> str:
    """A mark's name, and below it its value and limits."""
    said = f"{name}\n{row[value]:+.3f}"
    lo, hi = row.get("lo", np.nan), row.get("hi", np.nan)
    return said if pd.isna(lo) or pd.isna(hi) else f"{said}, 95 % limits {lo:+.3f} to {hi:+.3f}"


def with_titles(figure: Figure, draw: Callable[[], str]) -> str:
    """The SVG that `draw` gives of a figure, with a `title` in every mark that has words.

    Args:
        figure: The figure.
        draw: Called without arguments, gives the SVG element as text.

    Raises:
        ValueError: if an artist has more marks than words, or fewer.
    """
    artists = figure.findobj(lambda artist: artist in _TOLD)
    for number, artist in enumerate(artists):
        artist.set_gid(f"told-{number}")
    text = draw()
    if not artists:
        return text
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    root = ET.fromstring(text)
    named = {element.get("id"): element for element in root.iter() if element.get("id")}
    for number, artist in enumerate(artists):
        _entitle(named[f"told-{number}"], _TOLD[artist])
    return ET.tostring(root, encoding="unicode")


def _entitle(group: ET.Element, texts: Sequence[str]) -> None:
    defined = {id(one) for part in group.iter(f"{{{_SVG}}}defs") for one in part.iter()}
    marks = [one for one in group.iter() if one.tag in _MARKS and id(one) not in defined]
    if len(marks) != len(texts):
        raise ValueError(f"{len(marks)} marks are drawn, and {len(texts)} have words")
    for mark, text in zip(marks, texts, strict=True):
        ET.SubElement(mark, f"{{{_SVG}}}title").text = text
