"""The map of layers and tokens that causal tracing gives, on one axis."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vlbias.plots.axes import cells
from vlbias.studies.knowledge.token_roles import ROLES

__all__ = ["NAMES", "draw_map"]

_COLOURS = "PuOr_r"
NAMES = {"resid": "residual stream", "attn": "attention", "mlp": "MLP"}
"""Part to what a page calls it."""


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
