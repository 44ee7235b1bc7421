"""Figures of unlearning: what is kept against what is forgotten; where facts are read, and what it is worth."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.drawing import GREY, MARKS, SERIES
from vlbias.studies.knowledge.map_figures import NAMES, draw_map

__all__ = ["layers_of", "traced_and_trained", "trade_off"]


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


def layers_of(blocks: str) -> list[int]:
    """The layers of blocks such as "lm/mlp.0 lm/mlp.1"."""
    return [int(one.rpartition(".")[2]) for one in blocks.split() if "." in one]


def traced_and_trained(
    contrast: pd.DataFrame, conditions: pd.DataFrame, blocks: pd.DataFrame
) -> Figure:
    """Maps of where facts to forget are read, beside what each layer is worth to forgetting; layers upwards.

    Args:
        contrast: Of `Tables.contrast`.
        conditions: Of `Tables.conditions`: facts retained at the level, over the layers that were trained.
        blocks: Of `Tables.blocks`: what one block alone brings back.
    """
    shown = [part for part in ("attn", "mlp", "resid") if part in set(contrast["part"])]
    matched = conditions[conditions["reached"] & (conditions["blocks"] != "")]
    count = len(shown) + 1 + bool(len(blocks))
    figure = Figure(figsize=(1.0 + 2.6 * count, 3.3), layout="constrained")
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    reach = float(contrast["difference"].abs().max()) or 1.0
    for axis, part in zip(axes, shown, strict=False):
        image = draw_map(axis, contrast[contrast["part"] == part], "difference", reach)
        axis.set_title(f"read: {NAMES[part]}", fontsize=8)
    bar = figure.colorbar(image, ax=axes[: len(shown)].tolist(), shrink=0.8)
    bar.set_label("share, forget less retain", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    axes[0].set_ylabel("layer", fontsize=8)
    _retained(axes[len(shown)], matched)
    if len(blocks):
        _brought_back(axes[-1], blocks)
    return figure


def _retained(axis: Any, matched: pd.DataFrame) -> None:
    for number, (label, part) in enumerate(matched.groupby("label", sort=False)):
        layers = layers_of(str(part["blocks"].iloc[0]))
        value, colour = float(part["retain"].mean()), SERIES[number % len(SERIES)]
        axis.plot(
            [value] * len(layers), layers, label=label, color=colour, linewidth=1.5,
            marker=MARKS[number % len(MARKS)], markersize=5,
        )  # fmt: skip
    axis.set_title("trained: retained at the level", fontsize=8)
    axis.set_xlabel("facts to retain, still answered", fontsize=7)
    axis.tick_params(labelsize=7)
    if len(matched):
        axis.legend(fontsize=6, frameon=False)


def _brought_back(axis: Any, blocks: pd.DataFrame) -> None:
    means = blocks.groupby(["label", "site"], sort=False)["share"].mean().reset_index()
    for number, (label, part) in enumerate(means.groupby("label", sort=False)):
        layers = [layers_of(str(site))[0] for site in part["site"]]
        axis.plot(
            part["share"], layers, label=label, color=SERIES[number % len(SERIES)], linewidth=0,
            marker=MARKS[number % len(MARKS)], markersize=5,
        )  # fmt: skip
    axis.set_title("put back: known again", fontsize=8)
    axis.set_xlabel("share of what was forgotten", fontsize=7)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=6, frameon=False)
