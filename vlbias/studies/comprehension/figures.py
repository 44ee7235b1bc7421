"""Figures of comprehension: how often answers change in both arms, and subjects side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.drawing import MARKS, SERIES, finish_rows

__all__ = ["accuracy_and_comprehension", "contrasts"]

_NAMES = {"unconditioned": "unconditioned contrast", "ADCE": "ADCE, as published", "AICE": "AICE"}


def contrasts(effects: pd.DataFrame) -> Figure:
    """The unconditioned contrast, ADCE and AICE with their limits."""
    rows = effects.set_index("quantity").loc[list(_NAMES)]
    figure = Figure(figsize=(6.4, 1.9))
    axis = figure.subplots()
    for place, (name, row) in enumerate(rows.iterrows()):
        reach = [[row["estimate"] - row["lo"]], [row["hi"] - row["estimate"]]]
        axis.errorbar(
            [row["estimate"]], [place], xerr=reach, fmt=MARKS[place], color=SERIES[place], ms=5, lw=1.2,
            label=_NAMES[str(name)],
        )  # fmt: skip
    axis.invert_yaxis()
    finish_rows(axis, list(_NAMES.values()), "difference of shares, or share, of changed answers")
    return figure


def accuracy_and_comprehension(
    names: Sequence[str], effects: Sequence[pd.DataFrame]
) -> Figure | None:
    """Subjects by accuracy and by the unconditioned contrast, with limits of both; None if none has both."""
    accuracies = [frame.set_index("quantity").loc["accuracy", "estimate"] for frame in effects]
    if np.isnan(accuracies).all():
        return None
    figure = Figure(figsize=(5.6, 3.6))
    axis = figure.subplots()
    for number, (name, frame) in enumerate(zip(names, effects, strict=True)):
        rows = frame.set_index("quantity")
        x, y = rows.loc["accuracy"], rows.loc["unconditioned"]
        if np.isnan(x["estimate"]):
            continue
        reach = [
            np.array([[row["estimate"] - row["lo"]], [row["hi"] - row["estimate"]]])
            for row in (x, y)
        ]
        axis.errorbar(
            [x["estimate"]], [y["estimate"]], xerr=reach[0], yerr=reach[1],
            fmt=MARKS[number % len(MARKS)], color=SERIES[number % len(SERIES)], ms=5, lw=1,
            label=name,
        )  # fmt: skip
    axis.axhline(0, color="#718096", lw=0.8)
    axis.set_xlim(-0.05, 1.05)
    axis.set_xlabel("accuracy", fontsize=9)
    axis.set_ylabel("unconditioned contrast", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure
