"""Figures of editing: the score along the edits, and what each edit cost."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.drawing import GREY, MARKS, SERIES

__all__ = ["cost_curves", "score_curves", "shift_points"]


def _style(number: int) -> dict[str, Any]:
    return {
        "color": SERIES[number % len(SERIES)],
        "marker": MARKS[number % len(MARKS)],
        "ms": 4,
        "lw": 1.2,
    }


def score_curves(checkpoints: pd.DataFrame) -> Figure:
    """Score, utility and drift against the number of edits, a line a method; protocols side by side."""
    protocols = list(checkpoints["protocol"].drop_duplicates())
    shown = ("score", "utility", "drift")
    figure = Figure(figsize=(8.4, 0.4 + 2.4 * len(protocols)), layout="constrained")
    axes = figure.subplots(len(protocols), len(shown), squeeze=False)
    for row, protocol in zip(axes, protocols, strict=True):
        part = checkpoints[checkpoints["protocol"] == protocol]
        for axis, column in zip(row, shown, strict=True):
            for number, (label, line) in enumerate(part.groupby("label", sort=False)):
                axis.plot(line["edits"], line[column], label=label, **_style(number))
            axis.set_xscale("log", base=2)
            axis.set_title(f"{column}, {protocol}", fontsize=9)
            axis.set_xlabel("edits", fontsize=8)
            axis.tick_params(labelsize=7)
            if column != "drift":
                axis.set_ylim(-0.02, 1.02)
    axes[0][0].legend(fontsize=7, frameon=False)
    return figure


def cost_curves(edits: pd.DataFrame) -> Figure:
    """Cost of every edit of every method, flashes ringed."""
    figure = Figure(figsize=(8.4, 2.8), layout="constrained")
    axis = figure.subplots()
    for number, ((label, protocol), line) in enumerate(
        edits.groupby(["label", "protocol"], sort=False)
    ):
        style = {**_style(number), "lw": 0.6, "ms": 3}
        axis.plot(line["number"], line["cost"], label=f"{label}, {protocol}", **style)
        flash = line[line["flash"]]
        axis.scatter(flash["number"], flash["cost"], s=60, facecolors="none", edgecolors=GREY)
    axis.set_yscale("log")
    axis.set_xlabel("edit", fontsize=8)
    axis.set_ylabel("cost, share of the weight's norm", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)
    return figure


def shift_points(edits: pd.DataFrame) -> Figure:
    """Predicted against measured shift of other facts, a point an edit."""
    there = edits[edits["predicted_shift"].notna()]
    figure = Figure(figsize=(3.4, 3.2), layout="constrained")
    axis = figure.subplots()
    for number, (label, part) in enumerate(there.groupby("label", sort=False)):
        style = {**_style(number), "lw": 0}
        axis.plot(part["predicted_shift"], part["measured_shift"], label=label, **style)
    if len(there):
        ends = [there["predicted_shift"].min(), there["predicted_shift"].max()]
        axis.plot(ends, ends, color=GREY, lw=0.8)
    axis.set_xlabel("predicted shift", fontsize=8)
    axis.set_ylabel("measured shift", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)
    return figure
