"""At a glance for a study of texts: how much the odds of words change, and through which part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vlbias.report.blocks import Glance
from vlbias.report.names import contrast_in_words, part_in_words
from vlbias.store.run_folder import Run
from vlbias.studies.language.claims import claim
from vlbias.studies.language.numbers import Tables

__all__ = ["at_a_glance"]

_LEVEL = 0.05


def at_a_glance(run: Run, tables: Tables) -> list[Glance]:
    """What the first contrast of the study changes, and the part with the largest effect of its own."""
    contrast = next(iter(run.manifest["contrasts"]))
    rows = tables.totals[
        (tables.totals["contrast"] == contrast) & (tables.totals["samples"] == "all")
    ]
    rows = rows[(rows["effect"] == "TE") & (rows["summary"] == "log")]
    if rows.empty or pd.isna(rows["estimate"].iloc[0]):
        return []
    row = rows.iloc[0]
    shown = row["lo"] > 0 or row["hi"] < 0
    name = "glance-odds-shown" if shown else "glance-odds-not-shown"
    times, least, most = (float(np.exp(row[key])) for key in ("estimate", "lo", "hi"))
    limits = f"95 % limits {least:.2f} to {most:.2f}"
    number = f"odds of the two words times {times:.2f} ({limits}), {int(row['n'])} texts"
    said = claim(name).say(when=contrast_in_words(contrast))
    first = Glance("How much?", said, number, "shown" if shown else "not shown")
    return [first, *_where(tables.effects, contrast, str(row["target"]))] if shown else [first]


def _where(effects: pd.DataFrame, contrast: str, target: str) -> Iterator[Glance]:
    rows = effects[(effects["contrast"] == contrast) & (effects["samples"] == "all")]
    rows = rows[
        (rows["target"] == target) & (rows["effect"] == "NIE") & (rows["summary"] == "mean")
    ]
    sure = rows[(rows["mediator"] != "") & (rows["p_adjusted"] <= _LEVEL)]
    if sure.empty:
        return
    row = sure.loc[sure["estimate"].abs().idxmax()]
    number = (
        f"odds change by {row['estimate']:+.0%} (95 % limits {row['lo']:+.0%} to {row['hi']:+.0%})"
    )
    said = claim("glance-odds-where").say(part=part_in_words(row["mediator"]))
    yield Glance("Where?", said, number, "exploratory")
