"""The figure of planted models: what each method puts down to the wrong encoder."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.drawing import MARKS, SERIES, finish_rows
from vlbias.studies.planted.plants import TRUTH

__all__ = ["wrong_shares"]


def wrong_shares(summary: pd.DataFrame) -> Figure:
    """Share of the wrong encoder per method, with limits; a mark for each model with one encoder."""
    methods = list(dict.fromkeys(summary["method"]))
    plants = [plant for plant, encoders in TRUTH.items() if len(encoders) == 1]
    figure = Figure(figsize=(6.4, 0.5 * len(methods) + 1.0))
    axis = figure.subplots()
    for number, plant in enumerate(plants):
        rows = summary[summary["plant"] == plant].set_index("method").reindex(methods)
        place = np.arange(len(methods)) + 0.24 * (number - (len(plants) - 1) / 2)
        error = [rows["wrong_share"] - rows["lo"], rows["hi"] - rows["wrong_share"]]
        axis.errorbar(
            rows["wrong_share"], place, xerr=error, fmt=MARKS[number], ms=4, lw=1,
            color=SERIES[number], label=f"bias in the {plant}",
        )  # fmt: skip
    axis.invert_yaxis()
    finish_rows(axis, methods, "share of the change put down to the wrong encoder")
    return figure
