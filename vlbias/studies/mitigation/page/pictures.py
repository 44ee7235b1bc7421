"""The model before and after mitigations, as a picture."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from vlbias.report.blocks import Block, block
from vlbias.report.names import input_in_words, part_in_words
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.figures import before_and_after
from vlbias.studies.mitigation.numbers import Tables

__all__ = ["picture_blocks", "pictured"]

_MOST = 4


def picture_blocks(run: Run, tables: Tables) -> Iterator[Block]:
    """The picture; nothing for a run whose manifest does not say how the model's stages are joined."""
    stages, rows = run.manifest.get("stages"), pictured(run, tables)
    if not stages or len(rows) < 2:
        return
    settings = int(tables.verdicts["chosen"].sum())
    which = (
        ""
        if settings <= _MOST
        else f" Of {settings} settings the {_MOST} with the least B are drawn."
    )
    yield block(
        "The model before and after",
        "Each row is the model from its inputs to its output, first as it is, then with a setting at its "
        "chosen strength; an orange edge marks what that changes. The last arrow is as wide as the B that is "
        "left, cross-fit (a value below 0 is none), all rows in one scale, with 95 % limits of B and what the "
        "setting's placebo leaves. What is changed here need not be where the bias arises, and rows are "
        f"compared by the statements below, not by eye.{which}",
        figure=before_and_after(rows, stages),
        alt=_alt(rows),
    )


def pictured(run: Run, tables: Tables) -> pd.DataFrame:
    """The rows of `vlbias.plots.before_and_after`: the model as it is, and settings, least B first."""
    about, conditions = run.manifest["settings"], tables.conditions
    known = conditions[conditions["n_objects"] > 0]
    null = known[known["role"] == "none"]
    chosen = tables.verdicts.loc[tables.verdicts["chosen"], ["setting", "strength"]]
    own = known[known["role"] == "mitigated"].merge(chosen, on=["setting", "strength"])
    own = own.sort_values("B_crossfit", kind="stable").head(_MOST)
    placebos = known[known["role"] == "placebo"].groupby(["setting", "strength"])["B_crossfit"]
    beside = placebos.mean().to_dict()
    return pd.DataFrame(
        [
            {
                "name": "as it is" if row["role"] == "none" else row["name"],
                "changed": about.get(row["setting"], {}).get("changes", []),
                "estimate": row["B_crossfit"], "lo": row["B_lo"], "hi": row["B_hi"],
                "placebo": beside.get((row["setting"], row["strength"]), float("nan")),
            }
            for _, row in pd.concat([null, own]).iterrows()
        ]
    )  # fmt: skip


def _alt(rows: pd.DataFrame) -> str:
    said = []
    for _, row in rows.iterrows():
        parts = [
            input_in_words(p) if p in ("image", "text") else part_in_words(p)
            for p in row["changed"]
        ]
        changed = f", which changes {' and '.join(parts)}" if parts else ""
        placebo = "" if pd.isna(row["placebo"]) else f", with its placebo {row['placebo']:.3f}"
        said.append(
            f"{row['name']}{changed}: B {row['estimate']:.3f} [{row['lo']:.3f}, {row['hi']:.3f}]{placebo}"
        )
    return f"A row of stages for each. {'; '.join(said)}."
