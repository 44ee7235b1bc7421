"""Effects inside a model: a map of heads, and points by layer."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vlbias.plots.axes import axis_of, cells, needed
from vlbias.plots.sites import with_sites
from vlbias.report.drawing import GREY, MARKS, SERIES
from vlbias.report.told import tell, value_in_words

__all__ = ["heads", "layers"]

# on a heat map, whose colours are the same in the dark, a mark has to stay dark
_MARK = "#111111"


def heads(frame: pd.DataFrame, ax: Axes | None = None, *, limit: float | None = None) -> Axes:
    """A cell for every head of one stage, red above 0 and blue below; a dot where it survives correction.

    Args:
        frame: Columns mediator (or layer and unit), estimate, p_adjusted, and lo and hi if there are any.
        ax: Where; the current axis if not given.
        limit: Value of the darkest colour, for several maps of one scale; the largest if not given.

    Returns:
        The axis; its mesh is `ax.collections[0]`, for a colour bar.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "estimate", "p_adjusted")
    axis = axis_of(ax)
    rows = frame if {"layer", "unit"} <= set(frame) else with_sites(needed(frame, "mediator"))
    rows = rows[rows["unit"].notna()].astype({"unit": int, "layer": int})
    table = rows.pivot(index="layer", columns="unit", values="estimate")
    most = limit or float(rows["estimate"].abs().max()) or 1.0
    of = rows.set_index(["layer", "unit"])
    said = [_cell(of, layer, unit) for layer in table.index for unit in table.columns]
    cells(axis, table.to_numpy(float), said, colours="RdBu_r", reach=most)
    place = (
        {layer: row for row, layer in enumerate(table.index)},
        {unit: column for column, unit in enumerate(table.columns)},
    )
    sure = rows[rows["p_adjusted"] < 0.05]
    axis.plot(
        sure["unit"].map(place[1]), sure["layer"].map(place[0]), "o", color=_MARK, mec="white",
        mew=0.8, ms=5,
    )  # fmt: skip
    axis.set_yticks(*ticks(table.index))
    axis.set_xticks(*ticks(table.columns))
    axis.invert_yaxis()
    axis.set_xlabel("head")
    axis.set_ylabel("block")
    return axis


def ticks(labels: pd.Index, most: int = 16) -> tuple[list[int], list[str]]:
    """Places and texts of so many labels at most."""
    step = -(-len(labels) // most)
    return list(range(0, len(labels), step)), [str(label) for label in labels[::step]]


def _cell(of: pd.DataFrame, layer: int, unit: int) -> str:
    name = f"block {layer}, head {unit}"
    if (layer, unit) not in of.index:
        return f"{name}\nnot measured"
    row = of.loc[(layer, unit)]
    sure = "survives correction" if row["p_adjusted"] < 0.05 else "does not survive correction"
    return f"{value_in_words(name, row)}\n{sure}"


def layers(
    frame: pd.DataFrame, ax: Axes | None = None, *, ports: Sequence[str] | None = None
) -> Axes:
    """Effects through whole layers with limits, a mark and colour for every branch or stream.

    Args:
        frame: Columns mediator (or port and layer), estimate, lo, hi.
        ax: Where; the current axis if not given.
        ports: All branches in the order of their colours, for several axes of one legend.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "estimate", "lo", "hi")
    axis = axis_of(ax)
    rows = frame if {"layer", "port"} <= set(frame) else with_sites(needed(frame, "mediator"))
    rows = rows[rows["unit"].isna()] if "unit" in rows else rows
    own = list(dict.fromkeys(rows["port"]))
    looks = list(ports) if ports is not None else own
    for number, port in enumerate(own):
        part = rows[rows["port"] == port].sort_values("layer")
        error = [
            (part["estimate"] - part["lo"]).clip(lower=0),
            (part["hi"] - part["estimate"]).clip(lower=0),
        ]
        look = looks.index(port)
        drawn = axis.errorbar(
            part["layer"] + 0.24 * (number - (len(own) - 1) / 2), part["estimate"], yerr=error,
            fmt=MARKS[look % len(MARKS)], ms=3.5, lw=1, color=SERIES[look % len(SERIES)], label=port,
        )  # fmt: skip
        finite = part[part["estimate"].notna()]
        tell(
            drawn.lines[0],
            [value_in_words(f"{port}, layer {row['layer']}", row) for _, row in finite.iterrows()],
        )
    axis.axhline(0, color=GREY, lw=0.8)
    axis.set_xlabel("layer")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    return axis
