"""Which photos or texts the numbers stand on, and why the others are not among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vlbias.report.blocks import Block, Part, block
from vlbias.report.drawing import BLUE
from vlbias.store.run_folder import Run

__all__ = ["are_given", "data_part", "dropped", "funnel", "lacking_in_words", "unread_captions"]


def funnel(run: Run, further: Mapping[str, int]) -> pd.DataFrame:
    """Columns step and left: what reader and study count; and lost, where each step takes from the last.

    Args:
        run: The run.
        further: Steps behind those of the reader and the study's own selection, and what each leaves.
    """
    content = run.manifest["data"]["meta"].get("funnel", {})
    splits = ", ".join(run.manifest["study"]["dataset"]["splits"])
    steps = {**_steps(content), f"in the study: {splits}": len(run.samples), **further}
    table = pd.DataFrame({"step": list(steps), "left": list(steps.values())})
    if "steps" not in content:
        return table  # counts of several things, such as words and templates
    return table.assign(lost=-table["left"].diff().fillna(0).astype(int))


def dropped(run: Run) -> pd.DataFrame:
    """Columns why and photos: reasons that the reader and the label rule give."""
    return _reasons(run, "dropped", "photos")


def unread_captions(run: Run) -> pd.DataFrame:
    """Columns why and captions: those that were not read for the label."""
    return _reasons(run, "captions", "captions")


def _reasons(run: Run, key: str, counted: str) -> pd.DataFrame:
    content = run.manifest["data"]["meta"].get("funnel", {})
    reasons = content.get(key) if isinstance(content, Mapping) else None
    reasons = (
        reasons if isinstance(reasons, Mapping) else {}
    )  # texts count captions, say, by a number
    return pd.DataFrame({"why": list(reasons), counted: list(reasons.values())})


def data_part(
    run: Run, lacking: Sequence[str] = (), further: Mapping[str, int] = MappingProxyType({})
) -> Part:
    """The part of a page on the data: the funnel, the reasons, and the groups of what is left.

    Args:
        run: The run.
        lacking: What of the table of outcomes was left out, in words; told by the rows if not given.
        further: Steps of the funnel that a kind of study adds.
    """
    said = lacking or lacking_in_words(run.statuses)
    return Part("The data and what was left out", list(_blocks(run, said, further)))


def lacking_in_words(rows: pd.DataFrame) -> list[str]:
    """What was left out of the table of outcomes, and why.

    Args:
        rows: `Run.statuses`.
    """
    skipped = rows[(rows["status"] != "ok") & (rows["mediator"] == "")]
    counts = skipped.groupby(["contrast", "status"], observed=True)["count_all"].sum()
    return [f"{contrast}: {status} ({n} rows)" for (contrast, status), n in counts.items()]


def _blocks(run: Run, lacking: Sequence[str], further: Mapping[str, int]) -> Iterator[Block]:
    table = funnel(run, further)
    said = "; ".join(f"{row['step']}: {row['left']:,}" for _, row in table.iterrows())
    left_out = " ".join(f"{line}." for line in lacking)
    yield block(
        "What was counted, and what was left",
        "Splits are made before anything is looked at; what is reported is not what thresholds were set on, "
        f"unless the study says so. {left_out or 'No row of the table of outcomes was left out.'}",
        table=table,
        figure=_bars(table) if "lost" in table else None,
        alt=f"Bars, one a step. {said}.",
    )
    reasons = dropped(run)
    if len(reasons):
        yield block(
            "Why the others are not in it",
            "As the reader and the label rule count them; a photo can have one reason only.",
            table=reasons,
        )
    captions = unread_captions(run)
    if len(captions):
        yield block(
            "Captions that were not read for the label",
            "They speak for no group; the photo keeps what its other captions say.",
            table=captions,
        )
    if not {"split", "group"} <= set(run.samples.columns):
        return
    groups = run.samples.groupby(["split", "group"], sort=True).size().unstack(fill_value=0)
    yield block(
        "Groups by split",
        ("Groups that came with the data" if are_given(run) else "Perceived gender, from captions")
        + ", as the data name them.",
        table=groups.reset_index().rename_axis(columns=None),
    )


def _steps(content: Any) -> dict[str, int]:
    if not isinstance(content, Mapping):
        return {}
    steps = content.get("steps", content)
    return {str(name): count for name, count in steps.items() if isinstance(count, int)}


def are_given(run: Run) -> bool:
    """Whether the groups came with the data, so that no rule read them from captions."""
    rule = run.manifest["data"]["meta"].get("rule", {"name": "given"})
    return bool(rule["name"] == "given")


def _bars(table: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(7.2, 0.32 * len(table) + 0.6))
    axis = figure.subplots()
    place = np.arange(len(table))
    axis.barh(place, table["left"], color=BLUE, alpha=0.6, height=0.7)
    for at, count in enumerate(table["left"]):
        axis.text(count, at, f" {count:,}", va="center", fontsize=8)
    axis.set_yticks(place, table["step"])
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0, labelsize=8)
    return figure
