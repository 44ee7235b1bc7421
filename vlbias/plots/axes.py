"""Axes that all plots share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import Collection

from vlbias.errors import BadTable
from vlbias.report.drawing import GREY
from vlbias.report.told import tell, value_in_words

__all__ = ["axis_of", "cells", "dress", "needed", "points"]


def axis_of(ax: Axes | None) -> Axes:
    """The axis itself, or pyplot's current one, as plotting libraries do."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # chooses a backend, which a page never needs

    current: Axes = plt.gca()
    return current


def needed(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The frame, if it has these columns.

    Raises:
        BadTable: names those that it lacks.
    """
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise BadTable(
            f"the frame lacks the columns {', '.join(lacking)}; it has {', '.join(frame)}"
        )
    return frame


def cells(
    axis: Axes, grid: npt.ArrayLike, texts: Sequence[str], *, colours: str, reach: float
) -> Collection:
    """A cell for every value of a grid, from -reach to reach, each of which tells its text.

    Drawn as cells and not as one picture, so that each can be pointed at.

    Args:
        axis: Where; rows go upwards.
        grid: [rows, columns] values.
        texts: Of the cells, row by row.
        colours: Name of a colour map of matplotlib.
        reach: Value of its ends.

    Returns:
        The mesh, for a colour bar.
    """
    values = np.asarray(grid, dtype=np.float64)
    rows, columns = values.shape
    mesh: Collection = axis.pcolormesh(
        np.arange(columns), np.arange(rows), values, cmap=colours, vmin=-reach, vmax=reach,
        shading="nearest", edgecolor="face", linewidth=0.2,
    )  # fmt: skip
    tell(mesh, texts)
    return mesh


def points(
    axis: Axes,
    part: pd.DataFrame,
    place: Sequence[float],
    names: Sequence[str],
    *,
    colour: str,
    label: str,
    mark: str,
) -> None:
    """Estimates with limits, from left to right at some heights; each tells its value.

    Args:
        axis: Where.
        part: Columns estimate, lo, hi.
        place: Height of each row.
        names: What each row is.
        colour: Of marks and limits.
        label: In the legend.
        mark: Of matplotlib.
    """
    low, high = part["estimate"] - part["lo"], part["hi"] - part["estimate"]
    drawn = axis.errorbar(
        part["estimate"], place, xerr=[low.clip(lower=0), high.clip(lower=0)], fmt=mark, ms=3.5,
        lw=1, color=colour, label=label,
    )  # fmt: skip
    said = zip(names, part.iterrows(), strict=True)
    tell(
        drawn.lines[0],
        [
            value_in_words(f"{name}, {label}", row)
            for name, (_, row) in said
            if pd.notna(row["estimate"])
        ],
    )


def dress(axis: Axes, names: Sequence[str], label: str) -> None:
    """Names of the rows from above, a line at 0, what the axis means, and the legend above."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.axvline(0, color=GREY, lw=0.8)
    axis.set_xlabel(label)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0, labelsize=8)
    # above the axes: inside, no corner is free in every run
    axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
