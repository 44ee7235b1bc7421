"""Figures of a cohort: volcano, forest, the graph of one triple, and p-values of negative controls."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from vlbias.data.adjustment import AdjustmentSet, drawn_graph
from vlbias.data.graph import CausalGraph
from vlbias.report.drawing import BLUE, GREY, MARKS, ORANGE, SERIES, finish_rows
from vlbias.report.told import tell, value_in_words

__all__ = ["control_p_values", "forest", "triple_graph", "volcano"]

_LEAST_P = 1e-30
_MOST_DRAWN = 14


def volcano(triples: pd.DataFrame) -> Figure:
    """ACME against -log10 p, a mark for triples that are found, not found, and not identified."""
    figure = Figure(figsize=(6.4, 4.0))
    axis = figure.subplots()
    height = -np.log10(triples["ACME_p"].clip(lower=_LEAST_P))
    groups = (
        ("found", triples["found"], BLUE),
        ("not found", ~triples["found"] & (triples["effects"] != "unidentified"), GREY),
        ("not identified", triples["effects"] == "unidentified", ORANGE),
    )
    for mark, (name, rows, colour) in zip(MARKS, groups, strict=False):
        if rows.any():
            axis.scatter(
                triples.loc[rows, "ACME"], height[rows], s=16, marker=mark, color=colour, label=name,
                alpha=0.8, linewidths=0,
            )  # fmt: skip
    axis.axvline(0, color=GREY, lw=0.8)
    axis.set_xlabel("ACME")
    axis.set_ylabel(f"-log10 p (at most {-np.log10(_LEAST_P):.0f})")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return figure


def forest(adjusted: pd.DataFrame, plain: pd.DataFrame) -> Figure:
    """ACME of some triples with limits, adjusted and not."""
    names = [
        f"{row.exposure} → {row.mediator} → {row.outcome}"
        for row in adjusted[["exposure", "mediator", "outcome"]].itertuples()
    ]
    key = ["exposure", "mediator", "outcome"]
    other = adjusted[key].merge(plain, on=key, how="left")
    figure = Figure(figsize=(6.8, 0.32 * len(names) + 1.2))
    axis = figure.subplots()
    for number, (name, rows) in enumerate((("adjusted", adjusted), ("not adjusted", other))):
        estimate = rows["ACME"].to_numpy(float)
        error = [
            estimate - rows["ACME_lo"].to_numpy(float),
            rows["ACME_hi"].to_numpy(float) - estimate,
        ]
        drawn = axis.errorbar(
            estimate, np.arange(len(names)) + 0.26 * (number - 0.5), xerr=error, fmt=MARKS[number],
            ms=3.5, lw=1, color=SERIES[number], label=name,
        )  # fmt: skip
        limits = rows[["ACME", "ACME_lo", "ACME_hi"]].set_axis(["estimate", "lo", "hi"], axis=1)
        told = [
            value_in_words(f"{triple}, {name}", row)
            for triple, (_, row) in zip(names, limits.iterrows(), strict=True)
            if np.isfinite(row["estimate"])
        ]
        tell(drawn.lines[0], told)
    axis.invert_yaxis()
    finish_rows(axis, names, "ACME")
    return figure


def triple_graph(graph: CausalGraph, adjustment: AdjustmentSet) -> Figure:
    """The causes of a triple by the graph: what is adjusted for, what comes between, what is neither."""
    triple = adjustment.triple
    named = (triple.exposure, triple.mediator, triple.outcome)
    whole = drawn_graph(graph, triple)
    shown = [*named, *adjustment.intermediate, *adjustment.covariates][:_MOST_DRAWN]
    extra = sorted(set(whole) - set(shown), key=lambda code: (-whole.degree(code), code))
    shown += extra[: max(_MOST_DRAWN - len(shown), 0)]
    dag = whole.subgraph(shown)
    place = _places(dag)
    figure = Figure(figsize=(7.2, 4.2))
    axis = figure.subplots()
    for cause, effect in sorted(dag.edges):
        asked = cause in named and effect in named
        axis.add_patch(
            FancyArrowPatch(
                place[cause], place[effect], arrowstyle="-|>", mutation_scale=9, shrinkA=15, shrinkB=15,
                lw=1.6 if asked else 0.8, color=BLUE if asked else GREY,
                connectionstyle="arc3,rad=0.08", linestyle="--" if asked and cause == triple.mediator else "-",
            )
        )  # fmt: skip
    for code in dag:
        colour = _colour(code, named, adjustment)
        axis.scatter(*place[code], s=420, color=colour, alpha=0.25, linewidths=0)
        axis.text(*place[code], code, ha="center", va="center", fontsize=8)
    axis.set_axis_off()
    axis.margins(0.12)
    return figure


def _colour(code: str, named: tuple[str, str, str], adjustment: AdjustmentSet) -> str:
    if code in named:
        return BLUE
    if code in adjustment.intermediate:
        return ORANGE
    return SERIES[2] if code in adjustment.covariates else GREY


def _places(dag: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Causes to the left of effects; codes of one generation above each other."""
    place = {}
    for x, codes in enumerate(nx.topological_generations(dag)):
        ordered = sorted(codes)
        for number, code in enumerate(ordered):
            shift = 0.23 * (x % 2)  # so that arrows of three generations do not lie on each other
            place[code] = (float(x), (len(ordered) - 1) / 2 - number + shift)
    return place


def control_p_values(controls: pd.DataFrame) -> Figure:
    """Observed against expected p-values of negative controls, adjusted and not."""
    figure = Figure(figsize=(4.6, 4.2))
    axis = figure.subplots()
    names = {"graph": "adjusted", "unadjusted": "not adjusted"}
    for number, (adjustment, name) in enumerate(names.items()):
        p = np.sort(controls.loc[controls["adjustment"] == adjustment, "ACME_p"].dropna())
        expected = (np.arange(len(p)) + 0.5) / max(len(p), 1)
        axis.plot(
            -np.log10(expected), -np.log10(np.clip(p, _LEAST_P, 1)), MARKS[number], ms=3.5,
            color=SERIES[number], label=name,
        )  # fmt: skip
    most = max(axis.get_xlim()[1], 1.5)
    axis.plot([0, most], [0, most], color=GREY, lw=0.8)
    axis.set_xlabel("-log10 p, expected without bias")
    axis.set_ylabel("-log10 p, observed")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return figure
