"""The picture of a model: its stages from inputs to output, and how much of an effect passes through each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from vlbias.plots.axes import axis_of, needed
from vlbias.report.drawing import GREY
from vlbias.report.names import part_in_words
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
_WIDE, _HIGH, _STEP = 1.85, 0.78, 2.7
_THICKEST = 9.0


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
    found = []
    for name, about in graph.items():
        parents = [parent for parent in about["parents"] if parent in graph]
        channel = name.partition("_")[0]
        reads = [channel] if channel in about["channels"] else list(about["channels"])
        row = own.loc[name] if name in own.index else {}
        numbers = {key: row.get(key, np.nan) for key in ("estimate", "lo", "hi")}
        beside = other.loc[name, "estimate"] if name in other.index else np.nan
        found.append(
            {
                "stage": name, "inputs": [] if parents else reads, "parents": parents, **numbers,
                "cut": bool(row.get("cut", False)), "placebo": beside,
            }
        )  # fmt: skip
    return pd.DataFrame(found)


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
    most = limit or float(frame["estimate"].abs().max(skipna=True)) or 1.0
    place = _places(frame)
    ends = {name for parents in frame["parents"] for name in parents}
    depth = max(x for x, _ in place.values()) + _STEP
    middle = float(np.mean([y for _, y in place.values()]))
    place["output"] = (depth, middle)
    for _, row in frame.iterrows():
        for before in [*row["inputs"], *row["parents"]]:
            source = frame[frame["stage"] == before]
            effect = float(source["estimate"].iloc[0]) if len(source) else np.nan
            _arrow(axis, place[before], place[row["stage"]], effect, most)
        if row["stage"] not in ends:
            _arrow(axis, place[row["stage"]], place["output"], float(row["estimate"]), most)
    for _, row in frame.iterrows():
        _box(axis, place[row["stage"]], row, most)
    names = {"image": "photo", "text": "text", "output": "output"}
    for name in {one for inputs in frame["inputs"] for one in inputs} | {"output"}:
        axis.text(
            *place[name],
            names.get(name, name),
            ha="center",
            va="center",
            fontsize=9,
            style="italic",
        )
    xs, ys = zip(*place.values(), strict=True)
    axis.set_xlim(min(xs) - 0.7, max(xs) + 0.7)
    axis.set_ylim(min(ys) - 0.6, max(ys) + 0.6)
    axis.set_axis_off()
    axis.set_title(
        f"effect on {what} through each stage when it is replaced on its own", fontsize=8
    )
    return axis


def _places(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Middle of every input and stage: a column for each step from the inputs, a row for each input."""
    rows = {
        name: float(-i)
        for i, name in enumerate(dict.fromkeys(chain.from_iterable(frame["inputs"])))
    }
    place = {name: (0.0, 1.25 * y) for name, y in rows.items()}
    for _, row in frame.iterrows():
        before = [place[name] for name in [*row["inputs"], *row["parents"]]]
        x = max(at for at, _ in before) + _STEP * (0.75 if row["inputs"] else 1.0)
        place[row["stage"]] = (x, float(np.mean([y for _, y in before])))
    return place


def _colour(effect: float, most: float) -> Any:
    if np.isnan(effect) or abs(effect) < 0.01 * most:  # the middle of the scale is white
        return GREY
    # from the middle outwards, so that a small effect is not white on white
    shade = 0.5 + np.sign(effect) * (0.22 + 0.28 * min(abs(effect) / most, 1.0))
    return mpl.colormaps["RdBu_r"](shade)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], effect: float, most: float
) -> None:
    width = 1.0 if np.isnan(effect) else 1.0 + (_THICKEST - 1) * min(abs(effect) / most, 1.0)
    axis.add_patch(
        FancyArrowPatch(
            (start[0] + _WIDE / 2 * (start[0] > 0) + 0.3 * (start[0] == 0), start[1]),
            (end[0] - _WIDE / 2 + 0.02, end[1]), arrowstyle="-|>", mutation_scale=8 + width,
            lw=width, color=_colour(effect, most), shrinkA=0, shrinkB=0, zorder=1,
        )
    )  # fmt: skip


def _box(axis: Axes, place: tuple[float, float], row: pd.Series, most: float) -> None:
    box: Patch = FancyBboxPatch(
        (place[0] - _WIDE / 2, place[1] - _HIGH / 2), _WIDE, _HIGH, boxstyle="round,pad=0.02",
        fc="#ffffff", ec=_colour(row["estimate"], most), lw=1.6, ls="--" if row["cut"] else "-", zorder=2,
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
