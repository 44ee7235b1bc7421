"""Bias against performance."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from vlbias.plots.axes import axis_of, needed
from vlbias.report.drawing import GREY, MARKS, SERIES
from vlbias.report.told import tell

__all__ = ["pareto"]


def pareto(frame: pd.DataFrame, ax: Axes | None = None, *, metric: str = "performance") -> Axes:
    """Change of bias against change of performance, a line per setting over its strengths.

    Placebos are hollow, the star is the model as it is, rings are the Pareto front where it is known.

    Args:
        frame: Columns setting, role, strength, bias and performance, both less those of the model as it is;
            rows are ringed where there is a column `front`.
        ax: Where; the current axis if not given.
        metric: What the performance is.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "setting", "role", "strength", "bias", "performance")
    axis = axis_of(ax)
    settings = [one for one in dict.fromkeys(frame["setting"]) if one != "none"]
    for number, setting in enumerate(settings):
        # an eleventh setting takes the first colour with the second mark
        look = {"color": SERIES[number % 10], "marker": MARKS[(number + number // 10) % 10]}
        _line(axis, frame, setting, look)
    axis.axhline(0, color=GREY, lw=0.7, ls=":")
    axis.axvline(0, color=GREY, lw=0.7, ls=":")
    axis.plot(0, 0, "*", color="#000000", ms=11, label="as it is", ls="none")
    if "front" in frame:
        front = frame[frame["front"]]
        axis.plot(
            front["performance"], front["bias"], "o", ms=12, mfc="none", mec="#000000", mew=0.6,
            label="Pareto front",
        )  # fmt: skip
    axis.set_xlabel(f"change of {metric} (more is better)")
    axis.set_ylabel("change of B, cross-fit (less is better)")
    axis.locator_params(axis="x", nbins=5)
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def _line(axis: Axes, frame: pd.DataFrame, setting: str, look: dict[str, Any]) -> None:
    part = frame[frame["setting"] == setting].sort_values("strength")
    looks: tuple[tuple[str, dict[str, Any]], ...] = (
        ("mitigated", {"lw": 1, "alpha": 0.9, "label": setting}),
        ("placebo", {"mfc": "none", "ls": "none", "alpha": 0.7}),
    )
    for role, drawn in looks:
        rows = part[(part["role"] == role) & part[["bias", "performance"]].notna().all(axis=1)]
        if rows.empty:
            continue
        (line,) = axis.plot(rows["performance"], rows["bias"], ms=5, **drawn, **look)
        said = [
            f"{setting}{', placebo' if role == 'placebo' else ''}, strength {row['strength']:g}\n"
            f"bias {row['bias']:+.3f}, performance {row['performance']:+.3f}"
            for _, row in rows.iterrows()
        ]
        # the line is drawn as a path of its own, before its marks
        tell(line, said if role == "placebo" else [setting, *said])
