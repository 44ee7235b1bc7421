"""Figures of causal tracing: maps of layers and tokens, and their contrast."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vlbias.studies.knowledge.map_figures import NAMES, draw_map

__all__ = ["contrast_maps", "effect_maps"]


def effect_maps(effects: pd.DataFrame) -> Figure:
    """Share of the total effect by layer and token: a row a group, a column a part, one scale."""
    return _maps(effects, "share", list(effects["group"].drop_duplicates()))


def contrast_maps(contrast: pd.DataFrame) -> Figure:
    """Difference of shares by layer and token; what is shown for all sites together is framed."""
    return _maps(contrast.assign(group="difference"), "difference", ["difference"])


def _maps(frame: pd.DataFrame, value: str, groups: list[str]) -> Figure:
    parts = list(frame["part"].drop_duplicates())
    reach = float(frame[value].abs().max()) or 1.0
    figure = Figure(figsize=(1.0 + 2.6 * len(parts), 0.6 + 2.7 * len(groups)))
    axes = figure.subplots(len(groups), len(parts), sharex=True, sharey=True, squeeze=False)
    image: Any = None
    for row, group in zip(axes, groups, strict=True):
        for axis, part in zip(row, parts, strict=True):
            inside = frame[(frame["group"] == group) & (frame["part"] == part)]
            image = draw_map(axis, inside, value, reach)
            axis.set_title(f"{NAMES[part]}, {group}", fontsize=8)
        row[0].set_ylabel("layer", fontsize=8)
    bar = figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.8)
    bar.set_label("share of the total effect", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure
