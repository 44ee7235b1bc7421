"""Figures of unlearning: what is kept against what is forgotten, and which block carries it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.drawing import GREY, MARKS, SERIES

__all__ = ["trade_off"]


def trade_off(conditions: pd.DataFrame) -> Figure:
    """Facts retained, utility and what is relearned, each against the facts still known."""
    shown = {"retain": "retained", "utility": "utility", "relearned": "relearned"}
    there = [column for column in shown if conditions[column].notna().any()]
    figure = Figure(figsize=(2.9 * len(there), 2.9), layout="constrained")
    axes = figure.subplots(1, len(there), squeeze=False)[0]
    for axis, column in zip(axes, there, strict=True):
        for number, (label, part) in enumerate(conditions.groupby("label", sort=False)):
            trained = label not in ("before", "gold")
            axis.scatter(
                part["forget"], part[column], label=label, s=28,
                color=SERIES[number % len(SERIES)] if trained else GREY,
                marker=MARKS[number % len(MARKS)],
            )  # fmt: skip
        axis.set_xlabel("facts to forget, still answered", fontsize=8)
        axis.set_ylabel(shown[column], fontsize=8)
        axis.set_xlim(-0.03, 1.03)
        axis.set_ylim(-0.03, 1.03)
        axis.tick_params(labelsize=7)
    axes[0].legend(fontsize=6, frameon=False)
    return figure
