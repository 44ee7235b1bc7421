"""Several runs side by side: the bias of each, and what its worlds change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.blocks import Block, block
from vlbias.report.drawing import BLUE, GREY, ORANGE, finish_rows
from vlbias.report.export import frames
from vlbias.report.tables import with_limits
from vlbias.store.run_folder import Run

__all__ = ["changes_of", "compare", "runs_table"]

Measured = Sequence[tuple[Run, Any]]
"""Runs with their tables; all have `conditions`, those of worlds have `strictness` too."""


def compare(runs: Measured) -> list[Block]:
    """Blocks that set runs with presence scores beside each other; none for a single run."""
    if len(runs) < 2:
        return []
    table = runs_table(runs)
    said = (
        f"{row['run']}: B {row['B_plugin']:.3f}, floor {row['floor']:.3f}, cross-fit {row['B_crossfit']:.3f}"
        for _, row in table.iterrows()
    )
    blocks = [
        block(
            "Bias of the runs side by side",
            f"{_bases(runs)} at its own operating point. {_comparable(runs)} Limits that overlap "
            "do not show that two runs are alike, and there is no test between runs here.",
            table=table,
            figure=_points(table),
            alt=f"Points with limits, one a run. {'; '.join(said)}.",
        )
    ]
    changes = changes_of(runs)
    if len(changes):
        text = "B_lin of each world minus that of a model as strict for every class; limits of each alone."
        blocks.append(block("Worlds of the runs side by side", text, table=changes))
    return blocks


def _bases(runs: Measured) -> str:
    """Which worlds are set side by side, run by run where one of them is not the null world."""
    worlds = [str(tables.conditions.iloc[0].get("world", "null")) for _, tables in runs]
    if set(worlds) == {"null"}:
        return "The null world of each run"
    names = [run.manifest["study"]["name"] for run, _ in runs]
    each = ", ".join(f"{name}: {world}" for name, world in zip(names, worlds, strict=True))
    return f"Not the same worlds ({each}), each run"


def runs_table(runs: Measured) -> pd.DataFrame:
    """One row per run: its model and data, B with floor, test and limits, and a verdict in words."""
    rows = []
    for run, tables in runs:
        about, null = run.manifest, tables.conditions.iloc[0]
        told = "insufficient" if pd.isna(null["p"]) else "cannot be told from noise"
        rows.append(
            {
                "run": about["study"]["name"],
                "model": about["model"]["name"],
                "data": about["data"]["content_hash"][:8],
                **{name: null[name] for name in _NUMBERS},
                "verdict": "more than chance" if null["p"] <= 0.05 else told,
            }
        )
    return pd.DataFrame(rows)


_NUMBERS = (
    "B_plugin", "floor", "p", "B_crossfit", "B_lo", "B_hi", "n_objects", "mean_fpr",
)  # fmt: skip


def changes_of(runs: Measured) -> pd.DataFrame:
    """One row per contrast, a column per run, with limits, of what a world changes beyond equal strictness."""
    columns = {}
    for run, tables in runs:
        rows = frames(tables).get("strictness", pd.DataFrame())
        if "functional" not in rows:
            continue
        rows = rows[(rows["effect"] == _BEYOND) & (rows["functional"] == "B_lin")]
        columns[run.manifest["study"]["name"]] = pd.Series(
            {row["contrast"]: with_limits(row) for _, row in rows.iterrows()}, dtype=object
        )
    if not columns:
        return pd.DataFrame()
    return pd.DataFrame(columns).rename_axis("contrast").reset_index()


def _comparable(runs: Measured) -> str:
    """Whether the runs saw the same photos, classes and rule, in a sentence."""
    about = [run.manifest for run, _ in runs]
    shared = {
        "photos": {one["data"]["content_hash"] for one in about},
        "classes": {tuple(one["targets"]) for one in about},
        "operating point": {
            tuple(one["study"]["operating_point"][name] for name in _POINT) for one in about
        },
        "reported splits": {
            tuple(_reported(one["study"]) or one["study"]["dataset"]["splits"]) for one in about
        },
    }
    other = [what for what, values in shared.items() if len(values) > 1]
    if other:
        return f"The runs differ in {', '.join(other)}: B of one is not on the scale of another."
    return "All runs share photos, classes, splits and the rule of the operating point."


_BEYOND = "world - class thresholds"
_POINT = ("rule", "value", "min_negatives", "min_events")


def _reported(study: Mapping[str, Any]) -> list[str]:
    """The splits that a study's rates are of; empty for all that were run."""
    if "mitigation" in study:
        return [study["mitigation"]["report"]]
    return list(study["operating_point"]["report"])


def _points(table: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(7.2, 0.42 * len(table) + 1.1))
    axis = figure.subplots()
    place = range(len(table))
    reach = [
        (table["B_crossfit"] - table["B_lo"]).clip(lower=0),
        (table["B_hi"] - table["B_crossfit"]).clip(lower=0),
    ]
    axis.errorbar(
        table["B_crossfit"], place, xerr=reach, fmt="o", ms=4, lw=1, color=BLUE,
        label="B, cross-fit, with the limits of B",
    )  # fmt: skip
    axis.plot(table["B_plugin"], place, "s", ms=4, mfc="none", color=GREY, label="B, plug-in")
    axis.plot(table["floor"], place, "|", ms=11, mew=2.5, color=ORANGE, label="noise floor")
    finish_rows(axis, list(table["run"]), "B: sum over objects of |FPR gap|")
    axis.set_ylim(len(table) - 0.4, -0.6)
    return figure
