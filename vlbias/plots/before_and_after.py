"""The picture of a model before and after mitigations: where each acts, and what is left at the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from vlbias.plots.axes import axis_of, needed
from vlbias.plots.stage_graph import (
    WIDE,
    arrow,
    largest,
    places,
    stage_rows,
)
from vlbias.report.drawing import BLUE, GREY, ORANGE
from vlbias.report.names import input_in_words, part_in_words
from vlbias.report.told import tell, value_in_words

__all__ = ["before_and_after"]

_HIGH, _ROOM = 0.66, 1.3


def before_and_after(
    frame: pd.DataFrame,
    stages: Mapping[str, Mapping[str, Any]],
    ax: Axes | None = None,
    *,
    limit: float | None = None,
    what: str = "B, cross-fit",
) -> Axes:
    """The model once a row: as it is, and under each mitigation; all in one scale.

    The last arrow is as wide as what is left at the output. What a mitigation changes, a stage or an input, has
    a thick orange edge and the word "changed".

    Args:
        frame: Columns name, changed (a list of stages and channels), estimate, lo, hi, placebo: what is left
            with the mitigation, and with its placebo (NaN if it has none).
        stages: `manifest["stages"]` of the run: name to channels and parents.
        ax: Where; the current axis if not given.
        limit: Value of the widest arrow; the largest if not given.
        what: The quantity at the output.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "name", "changed", "estimate", "lo", "hi", "placebo")
    axis = axis_of(ax)
    graph = stage_rows(stages)
    place = places(graph)
    ys = [y for _, y in place.values()]
    step, right = max(ys) - min(ys) + _ROOM, place["output"][0]
    most = limit or largest(frame["estimate"])
    for number, (_, row) in enumerate(frame.iterrows()):
        at = {name: (x, y - number * step) for name, (x, y) in place.items()}
        axis.text(-0.5, at["output"][1] + step / 2 - 0.16, row["name"], fontsize=8, weight="bold")
        _model(axis, graph, at, row, most)
    axis.set_xlim(-0.7, right + 1.4)
    axis.set_ylim(min(ys) - (len(frame) - 1) * step - 0.5, max(ys) + 0.85)
    axis.set_axis_off()
    axis.set_title(f"{what} that is left at the output", fontsize=8)
    return axis


def _model(
    axis: Axes,
    graph: pd.DataFrame,
    at: Mapping[str, tuple[float, float]],
    row: pd.Series[Any],
    most: float,
) -> None:
    ends = {name for parents in graph["parents"] for name in parents}
    # B has no direction: a cross-fit value below 0 is none
    left: dict[str, Any] = {"colour": BLUE, "share": max(float(row["estimate"]), 0.0) / most}
    for _, stage in graph.iterrows():
        x, y = at[stage["stage"]]
        for before in [*stage["inputs"], *stage["parents"]]:
            start = at[before][0] + (WIDE / 2 if before in ends else 0.45), at[before][1]
            arrow(axis, start, (x - WIDE / 2 + 0.02, y))
        if stage["stage"] not in ends:
            arrow(axis, (x + WIDE / 2, y), (at["output"][0] - WIDE / 2, at["output"][1]), **left)
        said = part_in_words(stage["stage"]).replace(" of ", "\nof ")
        _box(axis, (x, y), said, changed=stage["stage"] in row["changed"])
    for name in {one for inputs in graph["inputs"] for one in inputs}:
        _input(axis, at[name], input_in_words(name), changed=name in row["changed"])
    said = f"{row['estimate']:.3f}\n[{row['lo']:.3f}, {row['hi']:.3f}]"
    said += "" if pd.isna(row["placebo"]) else f"\nplacebo {row['placebo']:.3f}"
    told = value_in_words(row["name"], row).replace("\n+", "\n")
    told += "" if pd.isna(row["placebo"]) else f"\nwith its placebo {row['placebo']:.3f}"
    box = _box(axis, at["output"], said, changed=False)
    tell(box, [told])


def _box(axis: Axes, place: tuple[float, float], said: str, *, changed: bool) -> Patch:
    box: Patch = FancyBboxPatch(
        (place[0] - WIDE / 2, place[1] - _HIGH / 2), WIDE, _HIGH, boxstyle="round,pad=0.02",
        fc="#ffffff", ec=ORANGE if changed else GREY, lw=2.4 if changed else 1.0, zorder=2,
    )  # fmt: skip
    axis.add_patch(box)
    said += "\nchanged" if changed else ""
    axis.text(*place, said, ha="center", va="center", fontsize=7, zorder=3)
    return box


def _input(axis: Axes, place: tuple[float, float], said: str, *, changed: bool) -> None:
    edge = {"fc": "#ffffff", "ec": ORANGE, "lw": 2.4} if changed else {"fc": "none", "ec": "none"}
    said += "\nchanged" if changed else ""
    axis.text(
        *place, said, ha="center", va="center", fontsize=8, style="italic",
        bbox={"boxstyle": "round,pad=0.25", **edge},
    )  # fmt: skip
