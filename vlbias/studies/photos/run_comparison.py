"""Several runs side by side: the bias of each, and what its worlds change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vlbias.errors import BadTable
from vlbias.plots import ranking
from vlbias.report.blocks import Block, block
from vlbias.report.export import frames
from vlbias.report.tables import with_limits
from vlbias.store.run_folder import Run
from vlbias.studies.photos.compared_runs import comparison_of, not_comparable

__all__ = ["changes_of", "compare", "runs_table"]

Measured = Sequence[tuple[Run, Any]]
"""Runs with their tables; all have `conditions`, those of worlds have `strictness` too."""


def compare(runs: Measured, *, draws: int = 2000, seed: int = 0) -> list[Block]:
    """Blocks that set runs with presence scores beside each other; none for a single run, or for one story.

    Args:
        runs: With their tables.
        draws: Resampling draws of the limits of differences.
        seed: Of the draws.
    """
    if len(runs) < 2 or _is_one_story(runs):
        return []
    tested = list(
        _differences([run for run, tables in runs if "strictness" in frames(tables)], draws, seed)
    )
    table = runs_table(runs)
    said = (
        f"{row['run']}: B {row['B_plugin']:.3f}, floor {row['floor']:.3f}, cross-fit {row['B_crossfit']:.3f}"
        for _, row in table.iterrows()
    )
    blocks = [
        block(
            "Bias of the runs side by side",
            f"{_bases(runs)} at its own operating point. {_comparable(runs)} Limits that overlap "
            f"do not show that two runs are alike. {_TESTED if tested else _UNTESTED}",
            table=table,
            figure=_ranking(table),
            alt=f"Points with limits, one a run. {'; '.join(said)}.",
        )
    ]
    blocks = [*tested, *blocks]
    changes = changes_of(runs)
    if len(changes):
        text = "B_lin of each world minus that of a model as strict for every class; limits of each alone."
        blocks.append(block("Worlds of the runs side by side", text, table=changes))
    return blocks


_TESTED = "Differences are tested above."
_UNTESTED = (
    "Runs on other photos, classes or rules are not paired, so that there is no test between them."
)


def _is_one_story(runs: Measured) -> bool:
    """Whether these are one run of bias and runs of mitigations of the same model and data."""
    about = [(run.manifest["model"], run.manifest["data"]["content_hash"]) for run, _ in runs]
    same = len({(model["name"], model.get("revision"), data) for model, data in about}) == 1
    measured = sum("strictness" in frames(tables) for _, tables in runs)
    return same and measured == 1


def _differences(runs: Sequence[Run], draws: int, seed: int) -> Iterator[Block]:
    """Models ranked, and every difference between them, where all can be paired over photos."""
    if len(runs) < 2 or any(not_comparable(a, b) for a, b in combinations(runs, 2)):
        return
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        return
    try:
        found = comparison_of(runs, draws=draws, seed=seed)
    except BadTable as error:
        yield Block("Models ranked by their bias", f"Not ranked: {error}.")
        return
    shown = found.differences[found.differences["said"] != "not shown"]
    shown = shown.rename(columns={"difference": "estimate"})
    said = "; ".join(
        f"{row['first']} {row['said']} than {row['second']}, {with_limits(row)}"
        for _, row in shown.iterrows()
    )
    ranked = block(
        "Models ranked by their bias",
        f"{found.sentence} B of all is on shared photos and objects, so that it can differ from B of a run "
        "alone. The last column names those that are shown to have less; where it is empty, the rank is not.",
        table=found.ranking,
        figure=_ranking(found.ranking),
        alt=f"Points with limits, one a model. Differences that are shown: {said or 'none'}. "
        f"{len(found.ranking)} models.",
    )
    yield replace(ranked, answer=found.answer)
    yield block(
        "Differences between models",
        "B of the first minus B of the second (cross-fit), with limits paired over photos, p of each pair, and "
        "p after correction over all pairs (Holm). 'B at least' and 'B at most' are limits of the difference "
        "of B itself, whatever noise hides in either.",
        table=found.differences.drop(columns=["se", "df"]),
        folded=True,
    )


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


def _ranking(table: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(7.2, 0.42 * len(table) + 1.1))
    ranking(table, figure.subplots())
    return figure
