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

from vlbias.report.drawing import BLUE, GREY, MARKS, ORANGE, SERIES, finish_rows

__all__ = ["maps", "pareto_front", "shares", "token_grid"]

Array = NDArray[np.float64]
Norms = Mapping[str, Array]


class _Grids(NamedTuple):
    before: Array
    after: Array
    relative: Array


def pareto_front(panels: Mapping[str, pd.DataFrame], metric: str) -> Figure:
    """Bias against performance, a line per setting over its strengths; placebos are hollow.

    Args:
        panels: Title to a frame with columns setting, role, draw, strength, and `bias` and `performance`
            less those of the model as it is on the same photos; rows that are on the front are ringed
            where there is a column `front`.
        metric: What the performance is.
    """
    figure = Figure(figsize=(4.3 * len(panels), 4.6))
    settings = [s for s in dict.fromkeys(next(iter(panels.values()))["setting"]) if s != "none"]
    for axis, (title, frame) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
    ):
        for number, setting in enumerate(settings):
            # an eleventh setting takes the first colour with the second mark
            look = {"color": SERIES[number % 10], "marker": MARKS[(number + number // 10) % 10]}
            _line(axis, frame, setting, look)
        axis.axhline(0, color=GREY, lw=0.7, ls=":")
        axis.axvline(0, color=GREY, lw=0.7, ls=":")
        axis.plot(0, 0, "k*", ms=11, label="as it is", ls="none")
        if "front" in frame:
            front = frame[frame["front"]]
            axis.plot(
                front["performance"], front["bias"], "o", ms=12, mfc="none", mec="k", mew=0.6,
                label="Pareto front",
            )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f"change of {metric} (more is better)")
        axis.locator_params(axis="x", nbins=5)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("change of B, cross-fit (less is better)")
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


def _line(axis: Any, frame: pd.DataFrame, setting: str, look: dict[str, str]) -> None:
    part = frame[frame["setting"] == setting].sort_values("strength")
    own, placebo = part[part["role"] == "mitigated"], part[part["role"] == "placebo"]
    axis.plot(own["performance"], own["bias"], lw=1, ms=5, alpha=0.9, label=setting, **look)
    axis.plot(
        placebo["performance"], placebo["bias"], ms=5, mfc="none", ls="none", alpha=0.7, **look
    )


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
        axis.errorbar(
            value, place + shift, xerr=[part.clip(lower=0) for part in reach], fmt="o", ms=4, lw=1,
            color=colour, label=label,
        )  # fmt: skip
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
