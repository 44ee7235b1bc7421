"""Where stages stand in a picture of a model: inputs left, output right, a row for each input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from vlbias.report.drawing import GREY

__all__ = [
    "STEP", "THICKEST", "WIDE", "arrow", "colour_of", "largest", "places", "stage_rows",
]  # fmt: skip

WIDE, STEP = 1.85, 2.7
"""Width of a box, and the distance of two columns, in units of the axis."""
THICKEST = 9.0
"""Points of the widest arrow."""


def stage_rows(graph: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Columns stage, inputs and parents, in the order of the model.

    Args:
        graph: Stage to its channels and parents, as `manifest["stages"]` of a run has it.
    """
    found = []
    for name, about in graph.items():
        parents = [parent for parent in about["parents"] if parent in graph]
        channel = name.partition("_")[0]
        reads = [channel] if channel in about["channels"] else list(about["channels"])
        found.append({"stage": name, "inputs": [] if parents else reads, "parents": parents})
    return pd.DataFrame(found)


def places(stages: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Middle of every input, of every stage, and of "output"; a column for each step from the inputs.

    Args:
        stages: Columns stage, inputs, parents.
    """
    rows: Iterable[str] = dict.fromkeys(chain.from_iterable(stages["inputs"]))
    place = {name: (0.0, -1.25 * i) for i, name in enumerate(rows)}
    for _, row in stages.iterrows():
        before = [place[name] for name in [*row["inputs"], *row["parents"]]]
        x = max(at for at, _ in before) + STEP * (0.75 if row["inputs"] else 1.0)
        place[row["stage"]] = (x, float(np.mean([y for _, y in before])))
    depth = max(x for x, _ in place.values()) + STEP
    place["output"] = (depth, float(np.mean([y for _, y in place.values()])))
    return place


def largest(effects: pd.Series[float]) -> float:
    """The largest effect in either direction, for the end of a scale; 1 where there is none."""
    most = effects.abs().max()
    return float(most) if most > 0 else 1.0


def colour_of(effect: float, most: float) -> Any:
    """Red above 0 and blue below, the stronger the larger; grey where there is next to nothing."""
    if np.isnan(effect) or abs(effect) < 0.01 * most:  # the middle of the scale is white
        return GREY
    # from the middle outwards, so that a small effect is not white on white
    shade = 0.5 + np.sign(effect) * (0.22 + 0.28 * min(abs(effect) / most, 1.0))
    return mpl.colormaps["RdBu_r"](shade)


def arrow(
    axis: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    colour: Any = GREY,
    share: float = 0.0,
    thickest: float = THICKEST,
) -> None:
    """An arrow as wide as a share of the widest one, from 0 to 1; a thin one without a share."""
    width = 1.0 if np.isnan(share) else 1.0 + (thickest - 1) * min(abs(share), 1.0)
    axis.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=8 + width, lw=width, color=colour,
            shrinkA=0, shrinkB=0, zorder=1,
        )
    )  # fmt: skip
