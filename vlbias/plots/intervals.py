"""Estimates with limits: gaps of objects, B of worlds, any rows, and B over operating points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vlbias.plots.axes import axis_of, dress, needed, points
from vlbias.report.drawing import BLUE, GREY, MARKS, ORANGE, SERIES
from vlbias.report.names import world_label
from vlbias.report.told import tell

__all__ = ["gaps", "intervals", "operating_points", "worlds"]


def gaps(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    most: int = 40,
    level: float = 0.025,
    label: str = "gap of the false-positive rate, first group minus second",
) -> Axes:
    """Gap of every object with support, largest first, with its limits.

    Args:
        frame: Columns object, status, gap, lo, hi, p_max_t: `objects` of a report or of `vlbias.bias`.
        ax: Where; the current axis if not given.
        most: Objects that are drawn.
        level: Of the correction over objects; that of a page, which keeps the other half of 5 % for worlds.
        label: What the gap is a difference of.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "object", "status", "gap", "lo", "hi", "p_max_t")
    axis = axis_of(ax)
    rows = frame[frame["status"] == "ok"]
    rows = rows.reindex(rows["gap"].abs().sort_values(ascending=False).index).head(most)
    rows = rows.sort_values("gap").rename(columns={"gap": "estimate"})
    sure = rows["p_max_t"] <= level
    for chosen, colour, told in (
        (~sure, GREY, "does not survive correction over objects"),
        (sure, ORANGE, "survives correction over objects"),
    ):
        part = rows[chosen]
        if len(part):
            place = np.arange(len(rows))[chosen.to_numpy()].tolist()
            mark = "s" if colour == ORANGE else "o"
            points(axis, part, place, list(part["object"]), colour=colour, label=told, mark=mark)
    dress(axis, list(rows["object"]), label)
    return axis


def worlds(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """B of every world beside its own noise floor, and where B itself may lie.

    Args:
        frame: Columns world, B_plugin, floor, B_crossfit, B_lo, B_hi: `conditions` of a report, or `worlds`
            of `vlbias.bias`.
        ax: Where; the current axis if not given.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "world", "B_plugin", "floor", "B_crossfit", "B_lo", "B_hi")
    axis = axis_of(ax)
    place = np.arange(len(frame))
    bars = axis.barh(
        place, frame["B_plugin"], color=BLUE, alpha=0.45, height=0.6, label="B, plug-in"
    )
    said = [_world(row) for _, row in frame.iterrows()]
    for bar, text in zip(bars, said, strict=True):
        tell(bar, [text])
    axis.vlines(frame["floor"], place - 0.38, place + 0.38, color=ORANGE, lw=2.5,
                label="noise floor: mean B without any gap")  # fmt: skip
    axis.hlines(place, frame["B_lo"], frame["B_hi"], color="#000000", lw=1.2, label="limits of B")
    (dots,) = axis.plot(
        frame["B_crossfit"], place, "o", ms=4, color="#000000", label="B, cross-fit"
    )
    known = frame["B_crossfit"].notna()
    tell(dots, [text for text, one in zip(said, known, strict=True) if one])
    dress(axis, [world_label(name) for name in frame["world"]], "B: sum over objects of |FPR gap|")
    return axis


def _world(row: pd.Series) -> str:
    return (
        f"{row['world']}\nB, cross-fit {row['B_crossfit']:.3f}, limits of B {row['B_lo']:.3f} to "
        f"{row['B_hi']:.3f}\nB, plug-in {row['B_plugin']:.3f}, noise floor {row['floor']:.3f}"
    )


def intervals(
    frame: pd.DataFrame, ax: Axes | None = None, *, names: Sequence[str] = (), label: str = ""
) -> Axes:
    """An estimate with its limits for every row.

    Args:
        frame: Columns estimate, lo, hi.
        ax: Where; the current axis if not given.
        names: Of the rows; those of the index if not given.
        label: What the axis means.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "estimate", "lo", "hi")
    axis = axis_of(ax)
    rows = [str(name) for name in (names or frame.index)]
    place = list(range(len(frame)))
    points(axis, frame, place, rows, colour=BLUE, label="estimate, 95 % limits", mark=MARKS[0])
    dress(axis, rows, label)
    return axis


def operating_points(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Cross-fit B of every world over a grid of operating points.

    Args:
        frame: Columns arm, fpr, B_crossfit.
        ax: Where; the current axis if not given.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "arm", "fpr", "B_crossfit")
    axis = axis_of(ax)
    table = frame[frame["B_crossfit"].notna()]
    for number, (name, part) in enumerate(table.groupby("arm", sort=False)):
        (line,) = axis.plot(
            part["fpr"], part["B_crossfit"], ms=4, lw=1.2, label=str(name),
            color=SERIES[number % 10], marker=MARKS[number % 10],
        )  # fmt: skip
        said = [
            f"{name}, false-positive rate {row['fpr']:g}\nB, cross-fit {row['B_crossfit']:.3f}"
            for _, row in part.iterrows()
        ]
        tell(line, [str(name), *said])  # the line itself is the first path
    axis.axhline(0, color=GREY, lw=0.8)
    axis.set_xscale("log")
    rates = sorted(table["fpr"].unique())
    axis.set_xticks(rates, [f"{x:g}" for x in rates])
    axis.minorticks_off()
    axis.set_xlabel("false-positive rate at which every world's thresholds are set")
    axis.set_ylabel("B, cross-fit")
    axis.spines[["top", "right"]].set_visible(False)
    return axis
