"""The figures of a page: one function each, a tidy frame in, a figure out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vlbias.report.columns import headed
from vlbias.report.drawing import BLUE, GREY, MARKS, ORANGE, SERIES

__all__ = [
    "by_layer", "changes", "conditions", "encoders", "heads", "intervals", "objects", "operating",
    "sites",
]  # fmt: skip

# on a heat map, whose colours are the same in the dark, a mark has to stay dark
_MARK = "#111111"
_SITE = re.compile(
    r"(?P<stage>[a-z_0-9]+)/(?P<port>[a-z_0-9]+)\.(?P<layer>\d+)(?:\[(?P<unit>\d+)\])?"
    r"(?:@[a-z0-9_,-]+)?"
)


def encoders(effects: pd.DataFrame, functional: str = "B_lin") -> Figure:
    """Indirect effect through each whole encoder in every contrast, with limits."""
    rows = effects[
        effects["effect"].isin(["NIE"])
        & (effects["functional"] == functional)
        & ~effects["mediator"].str.contains("/")
        & (effects["mediator"] != "")
    ]
    total = effects[
        (effects["effect"] == "TE")
        & (effects["functional"] == functional)
        & (effects["mediator"] == "")
    ]
    rows = pd.concat([total.assign(mediator="total effect"), rows])
    contrasts = list(dict.fromkeys(effects["contrast"]))
    names = list(dict.fromkeys(rows["mediator"]))
    figure = Figure(figsize=(7.2, 0.42 * len(contrasts) * max(len(names), 2) / 1.6 + 1.0))
    axis = figure.subplots()
    height = 0.8 / len(names)
    palette = (GREY, *SERIES)
    for number, name in enumerate(names):
        part = rows[rows["mediator"] == name].set_index("contrast").reindex(contrasts)
        place = np.arange(len(contrasts)) + (number - (len(names) - 1) / 2) * height
        _points(axis, part, place, palette[number % len(palette)], name, MARKS[number % 10])
    _dress(axis, contrasts, f"effect on {headed(functional)} (negative: less disparity)")
    return figure


def by_layer(effects: pd.DataFrame, contrast: str, functional: str = "B_lin") -> Figure:
    """Indirect effect through each branch or stream of every layer, with limits."""
    rows = layered(effects, contrast, functional)
    stages = list(dict.fromkeys(rows["stage"]))
    ports = list(dict.fromkeys(rows["port"]))
    figure = Figure(figsize=(3.7 * max(len(stages), 1), 3.1), layout="constrained")
    for axis, stage in zip(
        np.atleast_1d(figure.subplots(1, max(len(stages), 1), sharey=True)), stages, strict=False
    ):
        here = rows[rows["stage"] == stage]
        own = list(dict.fromkeys(here["port"]))
        for number, port in enumerate(own):
            part = here[here["port"] == port].sort_values("layer")
            error = [part["estimate"] - part["lo"], part["hi"] - part["estimate"]]
            look = ports.index(port)
            axis.errorbar(
                part["layer"] + 0.24 * (number - (len(own) - 1) / 2), part["estimate"], yerr=error,
                fmt=MARKS[look % len(MARKS)], ms=3.5, lw=1, color=SERIES[look % len(SERIES)], label=port,
            )  # fmt: skip
        axis.axhline(0, color=GREY, lw=0.8)
        axis.set_title(stage.replace("_", " "), fontsize=9)
        axis.set_xlabel("layer")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.spines[["top", "right"]].set_visible(False)
    if stages:
        figure.axes[0].set_ylabel(f"NIE on {headed(functional)}")
        found = [axis.get_legend_handles_labels() for axis in figure.axes]
        named = {
            label: mark
            for marks, labels in found
            for mark, label in zip(marks, labels, strict=True)
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


def heads(
    effects: pd.DataFrame, contrast: str, functional: str = "B_lin", port: str = "head"
) -> Figure:
    """Indirect effect through every head; dots where it survives correction over all mediators."""
    rows = sites(effects, contrast, functional)
    rows = rows[(rows["port"] == port) & rows["unit"].notna()]
    stages = list(dict.fromkeys(rows["stage"]))
    figure = Figure(figsize=(3.6 * max(len(stages), 1) + 0.8, 3.4), layout="constrained")
    limit = float(rows["estimate"].abs().max()) if len(rows) else 1.0
    for axis, stage in zip(
        np.atleast_1d(figure.subplots(1, max(len(stages), 1))), stages, strict=False
    ):
        part = rows[rows["stage"] == stage]
        table = part.pivot(index="layer", columns="unit", values="estimate")
        image = axis.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        sure = part[part["p_adjusted"] < 0.05]
        axis.plot(
            sure["unit"],
            sure["layer"] - table.index.min(),
            "o",
            color=_MARK,
            mec="white",
            mew=0.8,
            ms=5,
        )
        axis.set_yticks(range(len(table)), table.index.astype(str))
        axis.set_xticks(range(table.shape[1]), table.columns.astype(str))
        axis.set_xlabel("head")
        axis.set_ylabel("block")
        axis.set_title(stage.replace("_", " "), fontsize=9)
    figure.colorbar(image, ax=figure.axes, label=f"NIE on {headed(functional)}")
    return figure


def objects(table: pd.DataFrame, label: str, most: int = 40) -> Figure:
    """Gap of every object with support, largest first, with its interval.

    Args:
        table: Of objects.
        label: What the gap is a difference of.
        most: Objects that are drawn.
    """
    rows = table[table["status"] == "ok"].copy()
    rows = rows.reindex(rows["gap"].abs().sort_values(ascending=False).index).head(most)
    rows = rows.sort_values("gap").rename(columns={"gap": "estimate"})
    figure = Figure(figsize=(7.2, 0.19 * len(rows) + 1.0))
    axis = figure.subplots()
    sure = rows["p_max_t"] < 0.05
    for chosen, colour, told in (
        (~sure, GREY, "cannot be told from chance"),
        (sure, ORANGE, "survives correction over objects"),
    ):
        part = rows[chosen]
        if len(part):
            place = np.arange(len(rows))[chosen.to_numpy()]
            _points(axis, part, place, colour, told, "s" if colour == ORANGE else "o")
    _dress(axis, list(rows["object"]), label)
    return figure


def conditions(table: pd.DataFrame) -> Figure:
    """B of every world beside its own noise floor, and where B itself may lie."""
    figure = Figure(figsize=(7.2, 0.44 * len(table) + 1.0))
    axis = figure.subplots()
    place = np.arange(len(table))
    axis.barh(place, table["B_plugin"], color=BLUE, alpha=0.45, height=0.6, label="B, plug-in")
    axis.vlines(table["floor"], place - 0.38, place + 0.38, color=ORANGE, lw=2.5,
                label="noise floor: mean B without any gap")  # fmt: skip
    axis.hlines(place, table["B_lo"], table["B_hi"], color="#000000", lw=1.2, label="limits of B")
    axis.plot(table["B_crossfit"], place, "o", ms=4, color="#000000", label="B, cross-fit")
    _dress(axis, list(table["world"]), "B: sum over objects of |FPR gap|")
    return figure


_COMPARED = ("world - null", "class thresholds - null", "world - class thresholds")


def changes(table: pd.DataFrame, functional: str = "B_lin") -> Figure:
    """What every contrast changes, what thresholds as strict do, and the difference, with limits."""
    rows = table[(table["functional"] == functional) & table["effect"].isin(_COMPARED)]
    contrasts = list(dict.fromkeys(rows["contrast"]))
    figure = Figure(figsize=(7.2, 0.5 * len(contrasts) + 1.0))
    axis = figure.subplots()
    for number, name in enumerate(_COMPARED):
        part = rows[rows["effect"] == name].set_index("contrast").reindex(contrasts)
        place = np.arange(len(contrasts)) + (number - 1) * 0.22
        _points(axis, part, place, (GREY, ORANGE, BLUE)[number % 3], name, MARKS[number])
    _dress(axis, contrasts, f"change of {headed(functional)} (negative: less disparity)")
    return figure


def intervals(table: pd.DataFrame, names: Sequence[str], label: str) -> Figure:
    """An estimate with its limits for every row of a frame with columns estimate, lo, hi."""
    figure = Figure(figsize=(7.2, 0.34 * len(table) + 0.9))
    axis = figure.subplots()
    _points(axis, table, np.arange(len(table)), BLUE, "estimate, 95 % limits", MARKS[0])
    _dress(axis, list(names), label)
    return figure


def operating(table: pd.DataFrame) -> Figure:
    """Cross-fit B of every world over a grid of operating points."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axis = figure.subplots()
    table = table[table["B_crossfit"].notna()]
    for number, (name, part) in enumerate(table.groupby("arm", sort=False)):
        colour, mark = SERIES[number % 10], MARKS[number % 10]
        axis.plot(
            part["fpr"],
            part["B_crossfit"],
            ms=4,
            lw=1.2,
            label=str(name),
            color=colour,
            marker=mark,
        )
    axis.axhline(0, color=GREY, lw=0.8)
    axis.set_xscale("log")
    axis.set_xticks(
        sorted(table["fpr"].unique()), [f"{x:g}" for x in sorted(table["fpr"].unique())]
    )
    axis.minorticks_off()
    axis.set_xlabel("false-positive rate at which every world's thresholds are set")
    axis.set_ylabel("B, cross-fit")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure


def sites(effects: pd.DataFrame, contrast: str, functional: str) -> pd.DataFrame:
    """Indirect effects through components, with columns stage, port, layer and unit.

    Sites of one layer that are replaced together are one component, whose ports are joined by "+".
    """
    rows = effects[
        (effects["contrast"] == contrast)
        & (effects["functional"] == functional)
        & (effects["effect"] == "NIE")
    ]
    found = {name: _parts(name) for name in rows["mediator"].unique()}
    rows = rows[rows["mediator"].map(found).notna()]
    parts = pd.DataFrame(
        [found[name] for name in rows["mediator"]], rows.index, ["stage", "port", "layer", "unit"]
    )
    parts["unit"] = parts["unit"].astype("Int64")
    return pd.concat([rows, parts], axis=1)


def _parts(mediator: str) -> tuple[str, str, int, int | None] | None:
    """Stage, port, layer and unit of a mediator of one layer; None for others."""
    read = [_SITE.fullmatch(site) for site in mediator.split("+")]
    each = [match.groupdict() for match in read if match]
    if (
        len(each) < len(read)
        or len({(one["stage"], one["layer"], one["unit"]) for one in each}) > 1
    ):
        return None
    port = "+".join(one["port"] for one in each)
    unit = each[0]["unit"]
    return each[0]["stage"], port, int(each[0]["layer"]), None if unit is None else int(unit)


def _points(
    axis: object, part: pd.DataFrame, place: object, colour: str, label: str, mark: str
) -> None:
    low, high = part["estimate"] - part["lo"], part["hi"] - part["estimate"]
    axis.errorbar(  # type: ignore[attr-defined]
        part["estimate"], place, xerr=[low.clip(lower=0), high.clip(lower=0)], fmt=mark, ms=3.5,
        lw=1, color=colour, label=label,
    )  # fmt: skip


def _dress(axis: object, names: list[str], label: str) -> None:
    axis.set_yticks(range(len(names)), names)  # type: ignore[attr-defined]
    axis.set_ylim(len(names) - 0.4, -0.6)  # type: ignore[attr-defined]
    axis.axvline(0, color=GREY, lw=0.8)  # type: ignore[attr-defined]
    axis.set_xlabel(label)  # type: ignore[attr-defined]
    axis.spines[["top", "right", "left"]].set_visible(False)  # type: ignore[attr-defined]
    axis.tick_params(axis="y", length=0, labelsize=8)  # type: ignore[attr-defined]
    # above the axes: inside, no corner is free in every run
    axis.legend(  # type: ignore[attr-defined]
        frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3
    )
