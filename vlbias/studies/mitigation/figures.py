"""The figures of a study of mitigations: bias against performance, and where features changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vlbias import plots
from vlbias.report.drawing import BLUE, GREY, ORANGE, finish_rows
from vlbias.report.told import tell

__all__ = ["before_and_after", "maps", "pareto_front", "shares", "token_grid"]

Array = NDArray[np.float64]
Norms = Mapping[str, Array]


def before_and_after(rows: pd.DataFrame, stages: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The model as it is and under some settings, a row each; see `vlbias.plots.before_and_after`."""
    inputs = {channel for stage in stages.values() for channel in stage["channels"]}
    high = 1.65 if len(inputs) > 1 else 1.0
    figure = Figure(figsize=(7.6, high * len(rows) + 0.4))
    plots.before_and_after(rows, stages, figure.subplots())
    return figure


class _Grids(NamedTuple):
    before: Array
    after: Array
    relative: Array


def pareto_front(panels: Mapping[str, pd.DataFrame], metric: str) -> Figure:
    """Bias against performance, a line per setting over its strengths; placebos are hollow.

    Args:
        panels: Title to a frame as `vlbias.plots.pareto` takes it.
        metric: What the performance is.
    """
    figure = Figure(figsize=(4.3 * len(panels), 4.6))
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for axis, (title, frame) in zip(axes, panels.items(), strict=True):
        plots.pareto(frame, axis, metric=metric)
        axis.set_title(title, fontsize=9)
    for axis in axes[1:]:
        axis.set_ylabel("")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        frameon=False,
        fontsize=7,
        ncols=3,
        loc="lower center",
        bbox_to_anchor=(0.5, -0.02),
    )
    figure.tight_layout(rect=(0, 0.045 * (1 + len(labels) // 3), 1, 1))
    return figure


def shares(verdicts: pd.DataFrame) -> Figure:
    """B_lin of every setting at its chosen strength, with limits; placebos are hollow."""
    rows = verdicts[verdicts["chosen"]].reset_index(drop=True)
    figure = Figure(figsize=(7.2, 0.34 * len(rows) + 1.3))
    axis = figure.subplots()
    place = np.arange(len(rows))
    for shift, column, colour, label in (
        (-0.15, "over_threshold", ORANGE, "over thresholds as strict"),
        (0.15, "attributable", BLUE, "over its placebo too"),
    ):
        value = rows[column]
        reach = [value - rows[f"{column}_lo"], rows[f"{column}_hi"] - value]
        drawn = axis.errorbar(
            value, place + shift, xerr=[part.clip(lower=0) for part in reach], fmt="o", ms=4, lw=1,
            color=colour, label=label,
        )  # fmt: skip
        told = [
            f"{row['setting']} @ {row['strength']:g}, {label}\n{row[column]:+.3f}, 95 % limits "
            f"{row[f'{column}_lo']:+.3f} to {row[f'{column}_hi']:+.3f}"
            for _, row in rows[value.notna()].iterrows()
        ]
        tell(drawn.lines[0], told)
    axis.plot(rows["placebo"], place, "o", ms=5, mfc="none", mec=GREY, label="its placebo's own")
    names = [f"{row['setting']} @ {row['strength']:g}" for _, row in rows.iterrows()]
    finish_rows(axis, names, "change of B_lin (negative: gaps in their direction are smaller)")
    axis.invert_yaxis()
    return figure


def maps(found: Mapping[str, Sequence[Norms]]) -> Figure | None:
    """Where features changed: norms of the last block's tokens, a row a setting.

    Before and after share a scale, and so do the change and the placebo's.

    Args:
        found: Setting to its own and, where there is one, its placebo's "before", "after" and "change":
            mean norms [tokens] over photos.

    Returns:
        The figure; None where no setting changed a token, or tokens form no square.
    """
    drawn: dict[str, list[_Grids]] = {}
    for name, norms in found.items():
        grids = [grid for one in norms if (grid := _grids(one)) is not None]
        if grids and norms[0]["change"].max() > 0:
            drawn[name] = grids
    if not drawn:
        return None
    figure = Figure(figsize=(7.2, 1.6 * len(drawn) + 0.3), layout="constrained")
    axes = figure.subplots(len(drawn), 4, squeeze=False)
    for row, (name, (own, *placebos)) in zip(axes, drawn.items(), strict=True):
        _beside(figure, row[:2], ["before", "after"], [own.before, own.after], None)
        changes = [own.relative, *(placebo.relative for placebo in placebos)]
        _beside(figure, row[2:], ["change / before", "the same, placebo"], changes, 0.0)
        row[0].set_ylabel(
            name.replace(" (", "\n(").replace(" @", "\n@"),
            fontsize=7, rotation=0, ha="right", va="center",
        )  # fmt: skip
    return figure


def _grids(norms: Norms) -> _Grids | None:
    before, after, change = (token_grid(norms[what]) for what in ("before", "after", "change"))
    if before is None or after is None or change is None:
        return None
    return _Grids(before, after, change / before)


def _beside(
    figure: Figure,
    axes: Sequence[Axes],
    titles: Sequence[str],
    grids: Sequence[Array],
    low: float | None,
) -> None:
    """Grids in one scale, with one bar; axes without a grid stay empty."""
    least = min(float(grid.min()) for grid in grids) if low is None else low
    most = max(float(grid.max()) for grid in grids)
    for axis, title, grid in zip(axes, titles, grids, strict=False):
        image = axis.imshow(grid, cmap="viridis", vmin=least, vmax=most)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_title(title, fontsize=7)
    for axis in axes[len(grids) :]:
        axis.set_axis_off()
    figure.colorbar(image, ax=list(axes), fraction=0.05, pad=0.02).ax.tick_params(labelsize=6)


def token_grid(norms: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Numbers of tokens [tokens] on the square grid of their patches; None where they form none."""
    side = isqrt(len(norms))
    # a few tokens before the patches stand for no place
    if side < 2 or len(norms) - side * side > 5:
        return None
    return np.asarray(norms[len(norms) - side * side :].reshape(side, side))
