"""Models ranked by their bias."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from vlbias.plots.axes import axis_of, dress, needed
from vlbias.report.drawing import BLUE, GREY, ORANGE
from vlbias.report.told import tell

__all__ = ["ranking"]


def ranking(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """B of every model with the limits of B, least first, beside the plug-in and the noise floor.

    Args:
        frame: Columns run, B_crossfit, B_lo, B_hi, B_plugin, floor: `ranking` of `vlbias.compare`.
        ax: Where; the current axis if not given.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "run", "B_crossfit", "B_lo", "B_hi", "B_plugin", "floor")
    axis = axis_of(ax)
    place = list(range(len(frame)))
    reach = [
        (frame["B_crossfit"] - frame["B_lo"]).clip(lower=0),
        (frame["B_hi"] - frame["B_crossfit"]).clip(lower=0),
    ]
    drawn = axis.errorbar(
        frame["B_crossfit"], place, xerr=reach, fmt="o", ms=4, lw=1, color=BLUE,
        label="B, cross-fit, with the limits of B",
    )  # fmt: skip
    known = frame[frame["B_crossfit"].notna()]
    said = [
        f"{row['run']}\nB, cross-fit {row['B_crossfit']:.3f}, limits of B {row['B_lo']:.3f} to "
        f"{row['B_hi']:.3f}\nB, plug-in {row['B_plugin']:.3f}, noise floor {row['floor']:.3f}"
        for _, row in known.iterrows()
    ]
    tell(drawn.lines[0], said)
    axis.plot(frame["B_plugin"], place, "s", ms=4, mfc="none", color=GREY, label="B, plug-in")
    axis.plot(
        frame["floor"], place, "|", ms=11, mew=2.5, color=ORANGE, label="noise floor", ls="none"
    )
    dress(axis, list(frame["run"]), "B: sum over objects of |FPR gap|")
    return axis
