"""The picture of a model: its stages from inputs to output, and how much of an effect passes through each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from vlbias.plots.axes import axis_of, needed
from vlbias.plots.stage_graph import (
    WIDE,
    arrow,
    colour_of,
    largest,
    places,
    stage_rows,
)
from vlbias.report.names import input_in_words, part_in_words
from vlbias.report.told import tell, value_in_words

__all__ = ["model_picture", "stage_effects"]

_GRAPH: Mapping[str, Mapping[str, Any]] = {
    "image_encoder": {"channels": ["image"], "parents": []},
    "hybrid_encoder": {"channels": ["image"], "parents": ["image_encoder"]},
    "text_encoder": {"channels": ["text"], "parents": []},
    "fusion_encoder": {"channels": ["image", "text"], "parents": ["image_encoder", "text_encoder"]},
    "decoder": {"channels": ["image", "text"], "parents": ["fusion_encoder"]},
}
"""Stages of runs that do not say how theirs are joined: those of version 0.1.0."""
_HIGH = 0.78


def stage_effects(
    effects: pd.DataFrame,
    contrast: str,
    stages: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    placebos: Sequence[str] = (),
    functional: str = "B_lin",
) -> pd.DataFrame:
    """What `model_picture` draws, from a table of effects.

    Args:
        effects: `effects` of a report: contrast, mediator, effect, functional, estimate, lo, hi, cut.
        contrast: Whose effect is drawn.
        stages: `manifest["stages"]` of the run: name to channels and parents; the stages that have effects
            are joined as in a detector if not given.
        placebos: Contrasts of placebos; of several, that with the largest effect through a stage stands
            beside it.
        functional: The quantity that changes.

    Returns:
        One row per stage in the order of the model: stage, inputs, parents, estimate, lo, hi, cut, placebo;
        NaN where a stage was not replaced.
    """
    rows = effects[(effects["functional"] == functional) & (effects["effect"] == "NIE")]
    own = rows[rows["contrast"] == contrast].set_index("mediator")
    other = rows[rows["contrast"].isin(list(placebos))].sort_values("estimate", key=abs)
    other = other.drop_duplicates("mediator", keep="last").set_index("mediator")
    graph = stages or {name: one for name, one in _GRAPH.items() if name in own.index}
    frame = stage_rows(graph)
    numbers = own.reindex(frame["stage"])
    for column in ("estimate", "lo", "hi"):
        frame[column] = numbers[column].to_numpy(float)
    frame["cut"] = numbers["cut"].eq(True).to_numpy()
    return frame.assign(placebo=other["estimate"].reindex(frame["stage"]).to_numpy(float))


def model_picture(
    frame: pd.DataFrame, ax: Axes | None = None, *, limit: float | None = None, what: str = "B_lin"
) -> Axes:
    """Stages as boxes in the order of the model, inputs left, output right.

    An arrow that leaves a stage is as wide as the effect that passes through the stage, red where it raises
    the disparity and blue where it lowers it; the box has the number, its limits, and the placebo's. A stage
    with a dashed edge is a cut: all passes through it by construction.

    Args:
        frame: Of `stage_effects`: stage, inputs, parents, estimate, lo, hi, cut, placebo.
        ax: Where; the current axis if not given.
        limit: Effect of the widest arrow and the strongest colour; the largest if not given.
        what: The quantity that changes, for the words below.

    Raises:
        BadTable: if a column is missing.
    """
    needed(frame, "stage", "inputs", "parents", "estimate", "lo", "hi", "cut", "placebo")
    axis = axis_of(ax)
    most = limit or largest(frame["estimate"])
    place = places(frame)
    ends = {name for parents in frame["parents"] for name in parents}
    through = frame.set_index("stage")["estimate"]
    for _, row in frame.iterrows():
        for before in [*row["inputs"], *row["parents"]]:
            _joined(axis, place[before], place[row["stage"]], through.get(before, np.nan), most)
        if row["stage"] not in ends:
            _joined(axis, place[row["stage"]], place["output"], row["estimate"], most)
    for _, row in frame.iterrows():
        _box(axis, place[row["stage"]], row, most)
    for name in {one for inputs in frame["inputs"] for one in inputs} | {"output"}:
        said = input_in_words(name)
        axis.text(*place[name], said, ha="center", va="center", fontsize=9, style="italic")
    xs, ys = zip(*place.values(), strict=True)
    axis.set_xlim(min(xs) - 0.7, max(xs) + 0.7)
    axis.set_ylim(min(ys) - 0.6, max(ys) + 0.6)
    axis.set_axis_off()
    axis.set_title(
        f"effect on {what} through each stage when it is replaced on its own", fontsize=8
    )
    return axis


def _joined(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], effect: float, most: float
) -> None:
    first = start[0] + (WIDE / 2 if start[0] > 0 else 0.3)
    ends = (first, start[1]), (end[0] - WIDE / 2 + 0.02, end[1])
    arrow(axis, *ends, colour=colour_of(effect, most), share=effect / most)


def _box(axis: Axes, place: tuple[float, float], row: pd.Series, most: float) -> None:
    box: Patch = FancyBboxPatch(
        (place[0] - WIDE / 2, place[1] - _HIGH / 2), WIDE, _HIGH, boxstyle="round,pad=0.02",
        fc="#ffffff", ec=colour_of(row["estimate"], most), lw=1.6, ls="--" if row["cut"] else "-", zorder=2,
    )  # fmt: skip
    axis.add_patch(box)
    name, said = part_in_words(row["stage"]), _numbers(row)
    axis.text(*place, f"{name}\n{said}", ha="center", va="center", fontsize=7.2, zorder=3)
    beside = "" if pd.isna(row["placebo"]) else f"\nplacebo {row['placebo']:+.3f}"
    cut = "\ncut: all passes through it by construction" if row["cut"] else ""
    told = f"{name}\nnot replaced" if pd.isna(row["estimate"]) else value_in_words(name, row)
    tell(box, [f"{told}{beside}{cut}"])


def _numbers(row: pd.Series) -> str:
    if pd.isna(row["estimate"]):
        return "not replaced"
    lines = [f"{row['estimate']:+.3f}", f"[{row['lo']:+.3f}, {row['hi']:+.3f}]"]
    if not pd.isna(row["placebo"]):
        lines.append(f"placebo {row['placebo']:+.3f}")
    if row["cut"]:
        lines[0] += " (cut)"
    return "\n".join(lines)
