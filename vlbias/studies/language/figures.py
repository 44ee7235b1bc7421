"""The figures of a language model's page: layers, heads, neurons, positions, sparsity, model size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vlbias import plots
from vlbias.report.told import tell, value_in_words

__all__ = [
    "EMBEDDING_LAYER",
    "NEURON_PORTS",
    "effects_by_head",
    "effects_by_layer",
    "effects_by_model_size",
    "effects_by_position",
    "single_sites",
    "sparsity",
    "top_neurons",
]

_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#718096", "#b7791f")
_GREY = _COLOURS[4]
_SITE = re.compile(
    r"(?P<stage>[a-z_0-9]+)/(?P<port>[a-z_0-9]+)(?:\.(?P<layer>\d+))?(?:\[(?P<unit>\d+)\])?"
    r"(?:@(?P<position>[a-z0-9_,-]+))?"
)
EMBEDDING_LAYER = -1
"""The layer that word embeddings are drawn at, as in Vig et al."""
NEURON_PORTS = ("embed", "mlp", "neuron")
"""Ports whose units are called neurons."""


def single_sites(effects: pd.DataFrame) -> pd.DataFrame:
    """Effects through one site each, with columns port, layer, unit (missing if whole) and position.

    Word embeddings have layer -1; mediators of several sites are left out.
    """
    sites = effects["mediator"].str.extract(f"^{_SITE.pattern}$")
    sites["layer"] = sites["layer"].astype(float).fillna(EMBEDDING_LAYER)
    sites["unit"] = sites["unit"].astype(float).astype("Int64")
    sites["position"] = sites["position"].fillna("")
    joined = pd.concat([effects, sites], axis=1)[sites["port"].notna()]
    return joined.astype({"layer": int})


def effects_by_layer(sites: pd.DataFrame) -> Figure:
    """Indirect effect through whole layers, a line for each port and position, with limits."""
    figure = Figure(figsize=(6.4, 3.0))
    axis = figure.subplots()
    whole = sites[sites["unit"].isna() & (sites["layer"] > EMBEDDING_LAYER)]
    for colour, (name, rows) in _by_port(whole):
        rows = rows.sort_values("layer")
        error = [
            (rows["estimate"] - rows["lo"]).clip(lower=0),
            (rows["hi"] - rows["estimate"]).clip(lower=0),
        ]
        drawn = axis.errorbar(
            rows["layer"], rows["estimate"], yerr=error, fmt="o-", ms=3, lw=1, color=colour,
            label=name,
        )  # fmt: skip
        known = rows[rows["estimate"].notna()]
        told = [value_in_words(f"{name}, layer {row['layer']}", row) for _, row in known.iterrows()]
        tell(drawn.lines[0], [name, *told])  # the line is a path of its own, before its marks
    _finish(axis, "layer", "NIE, mean ratio minus 1")
    return figure


def effects_by_head(sites: pd.DataFrame, port: str, limit: float | None = None) -> Figure:
    """Indirect effect through every head; dots where it survives correction over all mediators.

    Args:
        sites: Of `single_sites`.
        port: Whose units are drawn.
        limit: End of the colour scale; that of these effects alone if not given.
    """
    rows = sites[(sites["port"] == port) & sites["unit"].notna()]
    rows = rows[rows["position"] == rows["position"].iloc[0]]
    wide, high = rows["unit"].nunique(), rows["layer"].nunique()
    figure = Figure(figsize=(1.6 + 0.34 * max(wide, 8), 1.0 + 0.13 * max(high, 16)))
    axis = plots.heads(rows, figure.subplots(), limit=limit)
    axis.invert_yaxis()  # layers upwards, as in Vig et al.
    axis.set_ylabel("layer")
    figure.colorbar(axis.collections[0], ax=axis, label="NIE, mean ratio minus 1")
    figure.tight_layout()
    return figure


def top_neurons(sites: pd.DataFrame, share: float = 0.025) -> Figure:
    """Mean indirect effect of the units with the largest effects in every layer, a line for each port.

    After figure 4 of Vig et al.: the top 2.5 % of each layer, the embedding as layer -1. The units are
    chosen by the effect that is drawn, so that the line is above 0 also where nothing is.
    """
    figure = Figure(figsize=(6.4, 3.0))
    axis = figure.subplots()
    of_neurons = sites["port"].isin(NEURON_PORTS) & sites["unit"].notna()
    single = sites[of_neurons].assign(port=lambda rows: rows["port"].replace({"embed": "mlp"}))
    for colour, (name, rows) in _by_port(single):
        top = rows.groupby("layer")["estimate"].apply(lambda values: _mean_of_top(values, share))
        axis.plot(top.index, top, "o-", ms=3, lw=1, color=colour, label=name)
    _finish(axis, "layer (-1: word embeddings)", f"mean NIE of the top {share:.1%}")
    return figure


def _mean_of_top(values: pd.Series[Any], share: float) -> float:
    count = max(1, round(share * len(values)))
    return float(np.sort(values.dropna().to_numpy())[::-1][:count].mean())


def effects_by_position(sites: pd.DataFrame) -> Figure:
    """Indirect effect by layer and position in the text, a panel for each port."""
    whole = sites[
        sites["unit"].isna() & (sites["layer"] > EMBEDDING_LAYER) & (sites["position"] != "")
    ]
    ports = [
        name for name, rows in whole.groupby("port", sort=False) if rows["position"].nunique() > 1
    ]
    figure = Figure(figsize=(3.2 * len(ports) + 0.8, 3.2))
    limit = float(whole["estimate"].abs().max())
    axes = figure.subplots(1, len(ports), squeeze=False)[0]
    for axis, port in zip(axes, ports, strict=True):
        rows = whole[whole["port"] == port]
        order = list(dict.fromkeys(rows["position"]))
        table = rows.pivot(index="layer", columns="position", values="estimate")[order]
        image = axis.imshow(
            table, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", origin="lower"
        )
        axis.set_xticks(range(len(order)), order, fontsize=8)
        axis.set_yticks(*_tick_labels(table.index))
        axis.set_xlabel("position in the text")
        axis.set_ylabel("layer")
        axis.set_title(port, fontsize=9)
        figure.colorbar(image, ax=axis, label="NIE, mean ratio minus 1")
    figure.tight_layout()
    return figure


def _tick_labels(labels: pd.Index[Any], most: int = 12) -> tuple[list[int], list[str]]:
    step = -(-len(labels) // most)
    return list(range(0, len(labels), step)), [str(label) for label in labels[::step]]


def sparsity(sites: pd.DataFrame) -> Figure:
    """Share of all positive single effects that the first k components hold, a line for each port."""
    figure = Figure(figsize=(6.4, 3.0))
    axis = figure.subplots()
    for colour, (name, rows) in _by_port(sites[sites["unit"].notna()]):
        positive = rows["estimate"].clip(lower=0).sort_values(ascending=False).to_numpy()
        if positive.sum() > 0:
            count = range(1, len(positive) + 1)
            share = positive.cumsum() / positive.sum()
            axis.plot(count, share, color=colour, lw=1.2, label=f"{name} ({len(positive)})")
    axis.set_xscale("log")
    _finish(axis, "components, largest first", "share of positive effects", whole=False)
    return figure


def effects_by_model_size(models: pd.DataFrame) -> Figure:
    """Total effect of every model by its number of parameters; random weights are the noise floor.

    Args:
        models: Columns model, parameters, random, samples, estimate, lo, hi.
    """
    figure = Figure(figsize=(6.4, 3.2))
    axis = figure.subplots()
    for colour, (name, rows) in zip(_COLOURS, models.groupby("samples", sort=False), strict=False):
        for random, some in rows.groupby("random"):
            some = some.sort_values("parameters")
            low, high = some["estimate"] - some["lo"], some["hi"] - some["estimate"]
            axis.errorbar(
                some["parameters"] / 1e6, some["estimate"],
                yerr=[low.clip(lower=0), high.clip(lower=0)], fmt="s--" if random else "o-", ms=4,
                mfc="white" if random else colour, lw=1, color=colour,
                label=f"{name}, random weights" if random else str(name),
            )  # fmt: skip
    trained = models[~models["random"]].drop_duplicates("model")
    for _, row in trained.iterrows():
        axis.annotate(
            row["model"], (row["parameters"] / 1e6, row["estimate"]), xytext=(4, 4),
            textcoords="offset points", fontsize=7,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=0.1)
    _finish(axis, "parameters, millions", "TE, mean ratio minus 1", whole=False)
    axis.axhline(0, color=_GREY, lw=0.8)
    return figure


def _by_port(sites: pd.DataFrame) -> Iterator[tuple[str, tuple[str, pd.DataFrame]]]:
    """A colour, a name and the rows of every port and position."""
    grouped = sites.groupby(["port", "position"], sort=False)
    for colour, ((port, position), rows) in zip(_COLOURS * 4, grouped, strict=False):
        yield colour, (f"{port} at {position}" if position else str(port), rows)


def _finish(axis: Any, across: str, up: str, *, whole: bool = True) -> None:
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    if whole:
        axis.axhline(0, color=_GREY, lw=0.8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)
    axis.figure.tight_layout()
