"""The picture of a model of many layers: the stream from words to answer, and what each layer adds."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from vlbias.plots.axes import axis_of, needed
from vlbias.plots.sites import with_sites
from vlbias.plots.stage_graph import THICKEST, arrow, colour_of, largest
from vlbias.report.told import tell, value_in_words

__all__ = ["layer_effects", "layer_picture"]

_BELOW = ("mlp", "neuron")
_IN_WORDS = {
    "attn": "attention",
    "head": "attention",
    "mlp": "MLP",
    "neuron": "MLP",
    "resid": "stream",
}
_WIDE, _HIGH, _UP = 0.84, 0.62, 1.1
_NUMBERED = 14  # layers, up to which a number fits into a box


def layer_effects(
    effects: pd.DataFrame, contrast: str, *, stage: str = "lm", summary: str | None = "mean"
) -> pd.DataFrame:
    """What `layer_picture` draws, from a table of effects.

    Args:
        effects: `effects` of a report: contrast, mediator, effect, estimate, lo, hi, p_adjusted, and summary
            where several are told apart.
        contrast: Whose effects are drawn.
        stage: Whose layers.
        summary: Which of several; None for a table that has one.

    Returns:
        One row per whole layer and branch that was replaced: port, layer, position, estimate, lo, hi,
        p_adjusted. Of several positions in the text the first that the study names.
    """
    rows = effects[(effects["contrast"] == contrast) & (effects["effect"] == "NIE")]
    if summary is not None:
        rows = rows[rows["summary"] == summary]
    rows = with_sites(rows)
    rows = rows[(rows["stage"] == stage) & rows["unit"].isna()]
    rows = rows.assign(position=[name.partition("@")[2] for name in rows["mediator"]])
    columns = ["port", "layer", "position", "estimate", "lo", "hi", "p_adjusted"]
    return rows.drop_duplicates(["port", "layer"])[columns].reset_index(drop=True)


def layer_picture(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    limit: float | None = None,
    total: Mapping[str, float] | None = None,
    ends: tuple[str, str] = ("words", "answer"),
    what: str = "the answer",
) -> Axes:
    """Layers from left to right along the stream that they read and write; attention above it, MLPs below.

    The arrow from a box into the stream is as wide as the effect that passes through it, red above 0 and blue
    below, and a box whose effect survives correction has a thick edge.

    Args:
        frame: Of `layer_effects`: port, layer, estimate, lo, hi, p_adjusted.
        ax: Where; the current axis if not given.
        limit: Effect of the widest arrow, for several pictures of one scale; the largest if not given.
        total: estimate, lo, hi of the whole change, for the right end.
        ends: What goes in, and what comes out.
        what: The quantity that changes, for the words above.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "port", "layer", "estimate", "lo", "hi", "p_adjusted")
    axis = axis_of(ax)
    most = limit or largest(frame["estimate"])
    layers = sorted(frame["layer"].unique())
    place = {layer: float(number) for number, layer in enumerate(layers)}
    last = max(place.values(), default=0.0)
    arrow(axis, (-0.75, 0.0), (last + 0.85, 0.0))
    for port, rows in frame.groupby("port", sort=False):
        above = 0.0 if port == "resid" else -1.0 if port in _BELOW else 1.0
        for _, row in rows.iterrows():
            _drawn(axis, place[row["layer"]], above, row, most, few=len(layers) <= _NUMBERED)
    step = 1 if len(layers) <= 2 * _NUMBERED else 4
    for layer, x in list(place.items())[::step]:
        axis.text(x, -1.75, str(layer), ha="center", va="center", fontsize=7)
    axis.text(-0.85, -1.75, "layer", ha="right", va="center", fontsize=7)
    axis.text(-0.85, 0.0, ends[0], ha="right", va="center", fontsize=9, style="italic")
    said = ends[1] if total is None else f"{ends[1]}\n{_with_limits(total)}"
    axis.text(last + 0.95, 0.0, said, ha="left", va="center", fontsize=8, style="italic")
    for port in frame["port"].unique():
        if port != "resid":
            y = -_UP if port in _BELOW else _UP
            name = _IN_WORDS.get(port, port)
            axis.text(-0.85, y, name, ha="right", va="center", fontsize=8)
    room = 0.09 * (last + 2)
    axis.set_xlim(-0.9 - room, last + 1.0 + 1.6 * room)
    axis.set_ylim(-1.95, 1.6)
    axis.set_axis_off()
    axis.set_title(
        f"effect on {what} through each layer when it is replaced on its own", fontsize=8
    )
    return axis


def _drawn(axis: Axes, x: float, above: float, row: pd.Series, most: float, *, few: bool) -> None:
    """One box, its arrow into the stream, and what it tells."""
    effect, y = float(row["estimate"]), above * _UP
    sure = row["p_adjusted"] < 0.05
    colour = colour_of(effect, most)
    if above:
        ends = (x, y - above * _HIGH / 2), (x, above * 0.04)
        arrow(axis, *ends, colour=colour, share=effect / most, thickest=THICKEST if few else 3.5)
    # without room for a number the box is coloured, pale where little passes
    shade = mpl.colormaps["RdBu_r"](0.5 if np.isnan(effect) else 0.5 + 0.5 * effect / most)
    box: Patch = FancyBboxPatch(
        (x - _WIDE / 2, y - _HIGH / 2), _WIDE, _HIGH, boxstyle="round,pad=0.01,rounding_size=0.08",
        fc="#ffffff" if few else shade, ec=colour if few or not sure else "#111111",
        lw=(2.6 if few else 1.6) if sure else 0.9, zorder=2,
    )  # fmt: skip
    axis.add_patch(box)
    if few:
        said = "–" if np.isnan(effect) else f"{effect:+.2f}"
        weight = "bold" if sure else "normal"
        axis.text(x, y, said, ha="center", va="center", fontsize=7, weight=weight, zorder=3)
    name = f"{_IN_WORDS.get(row['port'], row['port'])}, layer {row['layer']}"
    name += f", at {row['position']}" if row.get("position") else ""
    word = "survives correction" if sure else "does not survive correction"
    said = f"{name}\nnot known" if np.isnan(effect) else f"{value_in_words(name, row)}\n{word}"
    tell(box, [said])


def _with_limits(total: Mapping[str, float]) -> str:
    said = f"{total['estimate']:+.3f}"
    if np.isnan([total["lo"], total["hi"]]).any():
        return said
    return f"{said}\n[{total['lo']:+.3f}, {total['hi']:+.3f}]"
