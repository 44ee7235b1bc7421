"""Maps of layers and tokens of causal tracing, and their contrast."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vlbias.plots.axes import cells
from vlbias.studies.knowledge.token_roles import ROLES

__all__ = ["NAMES", "contrast_maps", "draw_map", "effect_maps"]

_COLOURS = "PuOr_r"
NAMES = {"resid": "residual stream", "attn": "attention", "mlp": "MLP"}
"""Part to what a page calls it."""


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


def draw_map(axis: Any, frame: pd.DataFrame, value: str, reach: float) -> Any:
    """The map of one part on an axis, layers going upwards; framed where the limits exclude 0.

    Args:
        axis: Where.
        frame: One row a layer and role.
        value: The column that is shown.
        reach: Value of the ends of the colours.

    Returns:
        The mesh, for a colour bar.
    """
    roles = [role for role in ROLES if role in set(frame["role"])]
    table = frame.pivot(index="layer", columns="role", values=value)[roles]
    said = [
        f"layer {layer}, {role.replace('_', ' ')}\n{number:+.2f}"
        for (layer, role), number in table.stack(future_stack=True).items()
    ]
    image = cells(axis, table, said, colours=_COLOURS, reach=reach)
    axis.set_xticks(
        range(len(roles)), [r.replace("_", " ") for r in roles], fontsize=7, rotation=60
    )
    axis.tick_params(axis="y", labelsize=7)
    if "p_adjusted" in frame:
        shown = frame[(frame["lo"] > 0) | (frame["hi"] < 0)]
        axis.scatter(
            [roles.index(role) for role in shown["role"]], shown["layer"], s=30, marker="s",
            facecolors="none", edgecolors="#000000", linewidths=1,
        )  # fmt: skip
    return image
