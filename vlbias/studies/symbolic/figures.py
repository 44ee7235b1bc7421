"""Figures of symbolic mechanisms: maps of heads and of tokens, ablation, attention, similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlbias.plots.axes import cells
from vlbias.report.drawing import GREY, MARKS, SERIES
from vlbias.studies.symbolic.head_types import HEAD_TYPES

__all__ = ["ablation_curves", "attention_patterns", "cosine_matrices", "head_maps", "token_maps"]

_COLOURS = "PuOr_r"


def head_maps(heads: pd.DataFrame) -> Figure:
    """Score of every head, layer by layer, the three types in one scale; found heads are framed."""
    reach = float(heads["score"].abs().max()) or 1.0
    figure = Figure(figsize=(8.4, 3.6))
    axes = figure.subplots(1, len(HEAD_TYPES), sharey=True)
    for axis, kind in zip(axes, HEAD_TYPES, strict=True):
        part = heads[heads["type"] == kind.name]
        table = part.pivot(index="layer", columns="head", values="score")
        said = [
            f"{kind.name}, layer {layer}, head {head}\nscore {value:+.3f}"
            for (layer, head), value in table.stack(future_stack=True).items()
        ]
        image = cells(axis, table, said, colours=_COLOURS, reach=reach)
        found = part[part["found"]]
        axis.scatter(
            found["head"], found["layer"], s=26, marker="s", facecolors="none",
            edgecolors="#000000", linewidths=1,
        )  # fmt: skip
        axis.set_title(kind.name, fontsize=9)
        axis.set_xlabel("head", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("layer", fontsize=8)
    _bar(figure, image, axes, "score, logits")
    return figure


def token_maps(map_: pd.DataFrame) -> Figure:
    """Score of each branch at each token, layer by layer: abstract pairs above, token pairs below."""
    panels = list(map_.groupby(["pairs", "branch"], sort=False))
    rows, columns = map_["pairs"].nunique(), map_["branch"].nunique()
    reach = float(map_["score"].abs().max()) or 1.0
    figure = Figure(figsize=(4.6 * columns, 2.6 * rows))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, ((pairs, branch), part) in zip(axes, panels, strict=True):
        table = part.pivot(index="layer", columns="place", values="score")
        labels = part.drop_duplicates("place").sort_values("place")["token"]
        named = dict(zip(table.columns, labels, strict=True))
        said = [
            f"{branch} of layer {layer} at {named[place]}\nscore {value:+.3f}"
            for (layer, place), value in table.stack(future_stack=True).items()
        ]
        image = cells(axis, table, said, colours=_COLOURS, reach=reach)
        axis.set_xticks(range(len(labels)), labels, fontsize=6, rotation=90)
        axis.set_title(f"{pairs} pairs, {branch}", fontsize=9)
        axis.tick_params(axis="y", labelsize=7)
    _bar(figure, image, axes, "score, logits")
    return figure


def ablation_curves(ablation: pd.DataFrame) -> Figure:
    """Accuracy against how many heads are silenced, with both controls."""
    figure = Figure(figsize=(8.4, 2.6))
    axes = figure.subplots(1, len(HEAD_TYPES), sharey=True)
    start = ablation.loc[ablation["arm"] == "none", "accuracy"]
    for axis, kind in zip(axes, HEAD_TYPES, strict=True):
        part = ablation[ablation["type"] == kind.name]
        for number, (arm, rows) in enumerate(part.groupby("arm", sort=False)):
            axis.plot(
                [0, *rows["heads"]], [*start, *rows["accuracy"]], marker=MARKS[number], ms=4, lw=1,
                color=SERIES[number], label=str(arm),
            )  # fmt: skip
        axis.set_title(kind.name, fontsize=9)
        axis.set_xlabel("heads silenced", fontsize=8)
        axis.set_ylim(-0.05, 1.05)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("accuracy", fontsize=8)
    axes[-1].legend(frameon=False, fontsize=7)
    return figure


def attention_patterns(patterns: pd.DataFrame) -> Figure:
    """What the top head of each type attends to, token by token."""
    kinds = list(patterns.groupby("type", sort=False))
    figure = Figure(figsize=(8.4, 1.7 * len(kinds)))
    axes = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (kind, part) in zip(axes, kinds, strict=True):
        first = part.iloc[0]
        axis.bar(part["place"], part["attention"], color=SERIES[0], width=0.8)
        axis.set_title(f"{kind}: layer {first['layer']}, head {first['head']}", fontsize=8)
        axis.set_ylim(0, 1)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylabel("attention", fontsize=7)
    labels = kinds[-1][1]["token"]
    axes[-1].set_xticks(range(len(labels)), labels, fontsize=6)
    figure.subplots_adjust(hspace=0.45)
    return figure


def cosine_matrices(cosines: pd.DataFrame) -> Figure:
    """Mean cosine similarity of the top head's outputs within and between rules and queries."""
    kinds = list(cosines.groupby("type", sort=False))
    figure = Figure(figsize=(8.4, 2.9))
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axis, (kind, part) in zip(axes, kinds, strict=True):
        names = list(dict.fromkeys(part["one"]))
        grid = part["cosine"].to_numpy().reshape(len(names), -1)
        said = [
            f"{one}, {other}\n{grid[i, j]:.2f}"
            for i, one in enumerate(names)
            for j, other in enumerate(names)
        ]
        image = cells(axis, grid, said, colours=_COLOURS, reach=1.0)
        for (i, j), value in np.ndenumerate(grid):
            ink = "#ffffff" if abs(value) > 0.6 else "#000000"
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
        axis.set_xticks(range(len(names)), names, fontsize=6, rotation=40, ha="right")
        axis.set_yticks(range(len(names)), names, fontsize=6)
        first = part.iloc[0]
        axis.set_title(f"{kind}: layer {first['layer']}, head {first['head']}", fontsize=8)
    axes[0].invert_yaxis()
    _bar(figure, image, axes, "cosine")
    return figure


def _bar(figure: Figure, image: Any, axes: Any, label: str) -> None:
    bar = figure.colorbar(image, ax=list(axes), shrink=0.8, pad=0.02)
    bar.set_label(label, fontsize=8, color=GREY)
    bar.ax.tick_params(labelsize=7)
