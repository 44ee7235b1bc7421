"""The figures of a page: one function each, a tidy frame in, a figure out; drawn with `vlbias.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlbias import plots
from vlbias.plots.axes import dress, points
from vlbias.plots.sites import with_sites
from vlbias.report.columns import headed
from vlbias.report.drawing import BLUE, GREY, MARKS, ORANGE, SERIES
from vlbias.report.names import contrast_label

__all__ = [
    "by_layer", "changes", "conditions", "encoders", "heads", "intervals", "largest_unit", "objects",
    "operating", "sites", "stages",
]  # fmt: skip


def encoders(effects: pd.DataFrame, functional: str = "B_lin") -> Figure:
    """Indirect effect through each whole encoder in every contrast, with limits."""
    whole = (effects["functional"] == functional) & ~effects["mediator"].str.contains("/")
    rows = effects[whole & (effects["effect"] == "NIE") & (effects["mediator"] != "")]
    total = effects[whole & (effects["effect"] == "TE") & (effects["mediator"] == "")]
    rows = pd.concat([total.assign(mediator="total effect"), rows])
    contrasts = list(dict.fromkeys(effects["contrast"]))
    labels = [contrast_label(name) for name in contrasts]
    names = list(dict.fromkeys(rows["mediator"]))
    figure = Figure(figsize=(7.2, 0.42 * len(contrasts) * max(len(names), 2) / 1.6 + 1.0))
    axis = figure.subplots()
    height = 0.8 / len(names)
    palette = (GREY, *SERIES)
    for number, name in enumerate(names):
        part = rows[rows["mediator"] == name].set_index("contrast").reindex(contrasts)
        place = (np.arange(len(contrasts)) + (number - (len(names) - 1) / 2) * height).tolist()
        colour, mark = palette[number % len(palette)], MARKS[number % 10]
        points(axis, part, place, labels, colour=colour, label=name, mark=mark)
    dress(axis, labels, f"effect on {headed(functional)} (negative: less disparity)")
    return figure


def stages(
    effects: pd.DataFrame,
    contrast: str,
    graph: Mapping[str, Mapping[str, Any]] | None,
    placebos: Sequence[str] = (),
    functional: str = "B_lin",
) -> Figure:
    """The picture of the model: how much of a contrast's effect passes through each stage."""
    frame = plots.stage_effects(effects, contrast, graph, placebos=placebos, functional=functional)
    figure = Figure(figsize=(8.2, 2.9))
    plots.model_picture(frame, figure.subplots(), what=headed(functional))
    return figure


def by_layer(effects: pd.DataFrame, contrast: str, functional: str = "B_lin") -> Figure:
    """Indirect effect through each branch or stream of every layer, with limits."""
    rows = layered(effects, contrast, functional)
    names = list(dict.fromkeys(rows["stage"]))
    ports = list(dict.fromkeys(rows["port"]))
    figure = Figure(figsize=(3.7 * max(len(names), 1), 3.1), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, max(len(names), 1), sharey=True))
    for axis, stage in zip(panels, names, strict=False):
        plots.layers(rows[rows["stage"] == stage], axis, ports=ports)
        axis.set_title(stage.replace("_", " "), fontsize=9)
    if names:
        figure.axes[0].set_ylabel(f"NIE on {headed(functional)}")
        named = {
            label: mark
            for axis in figure.axes
            for mark, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            list(named.values()), list(named), frameon=False, fontsize=8,
            loc="outside lower center", ncols=min(len(named), 4),
        )  # fmt: skip
    return figure


def layered(effects: pd.DataFrame, contrast: str, functional: str = "B_lin") -> pd.DataFrame:
    """Indirect effects through whole layers of components, without heads and neurons; see `sites`."""
    rows = sites(effects, contrast, functional)
    return rows[rows["unit"].isna()]


def largest_unit(effects: pd.DataFrame, functional: str = "B_lin", port: str = "head") -> float:
    """The largest effect through a head in any contrast: the end of the colour scale of all maps."""
    found = [
        rows.loc[(rows["port"] == port) & rows["unit"].notna(), "estimate"].abs().max()
        for rows in (sites(effects, name, functional) for name in effects["contrast"].unique())
    ]
    known = [float(value) for value in found if pd.notna(value)]
    return max(known, default=0.0) or 1.0


def heads(
    effects: pd.DataFrame,
    contrast: str,
    functional: str = "B_lin",
    port: str = "head",
    limit: float | None = None,
) -> Figure:
    """Indirect effect through every head; dots where it survives correction over all mediators.

    Args:
        effects: The table.
        contrast: Whose effects are drawn.
        functional: The quantity that changes.
        port: Whose units are drawn.
        limit: End of the colour scale; that of this contrast alone if not given.
    """
    rows = sites(effects, contrast, functional)
    rows = rows[(rows["port"] == port) & rows["unit"].notna()]
    names = list(dict.fromkeys(rows["stage"]))
    figure = Figure(figsize=(3.6 * max(len(names), 1) + 0.8, 3.4), layout="constrained")
    most = limit or float(rows["estimate"].abs().max()) or 1.0
    panels = np.atleast_1d(figure.subplots(1, max(len(names), 1)))
    for axis, stage in zip(panels, names, strict=False):
        plots.heads(rows[rows["stage"] == stage], axis, limit=most)
        axis.set_title(stage.replace("_", " "), fontsize=9)
    mesh = panels[0].collections[0]
    figure.colorbar(mesh, ax=list(panels), label=f"NIE on {headed(functional)}")
    return figure


def objects(table: pd.DataFrame, label: str, most: int = 40) -> Figure:
    """Gap of every object with support, largest first, with its interval; `label` says what is subtracted."""
    drawn = min(most, int((table["status"] == "ok").sum()))
    figure = Figure(figsize=(7.2, 0.19 * drawn + 1.0))
    plots.gaps(table, figure.subplots(), most=most, label=label)
    return figure


def conditions(table: pd.DataFrame) -> Figure:
    """B of every world beside its own noise floor, and where B itself may lie."""
    figure = Figure(figsize=(7.2, 0.44 * len(table) + 1.0))
    plots.worlds(table, figure.subplots())
    return figure


_COMPARED = ("world - null", "class thresholds - null", "world - class thresholds")


def changes(table: pd.DataFrame, functional: str = "B_lin") -> Figure:
    """What every contrast changes, what thresholds as strict do, and the difference, with limits."""
    rows = table[(table["functional"] == functional) & table["effect"].isin(_COMPARED)]
    contrasts = list(dict.fromkeys(rows["contrast"]))
    labels = [contrast_label(name) for name in contrasts]
    figure = Figure(figsize=(7.2, 0.5 * len(contrasts) + 1.0))
    axis = figure.subplots()
    for number, name in enumerate(_COMPARED):
        part = rows[rows["effect"] == name].set_index("contrast").reindex(contrasts)
        place = (np.arange(len(contrasts)) + (number - 1) * 0.22).tolist()
        colour = (GREY, ORANGE, BLUE)[number % 3]
        points(axis, part, place, labels, colour=colour, label=name, mark=MARKS[number])
    dress(axis, labels, f"change of {headed(functional)} (negative: less disparity)")
    return figure


def intervals(table: pd.DataFrame, names: Sequence[str], label: str) -> Figure:
    """An estimate with its limits for every row of a frame with columns estimate, lo, hi."""
    figure = Figure(figsize=(7.2, 0.34 * len(table) + 0.9))
    plots.intervals(table, figure.subplots(), names=names, label=label)
    return figure


def operating(table: pd.DataFrame) -> Figure:
    """Cross-fit B of every world over a grid of operating points."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    plots.operating_points(table, figure.subplots())
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure


def sites(effects: pd.DataFrame, contrast: str, functional: str) -> pd.DataFrame:
    """Indirect effects through components, with columns stage, port, layer and unit; see `with_sites`."""
    rows = effects[
        (effects["contrast"] == contrast)
        & (effects["functional"] == functional)
        & (effects["effect"] == "NIE")
    ]
    return with_sites(rows)
