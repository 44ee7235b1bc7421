"""The statements that a page makes on its worlds, as one family whose error is controlled."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.attributable_change import DIRECTION, decide
from vlbias.analysis.corrections import holm
from vlbias.analysis.inference import largest_left_open

__all__ = ["FAMILY_LEVEL", "STATEMENTS", "statements"]

STATEMENTS = {
    "B": ("world - null", "B_plugin"),
    "beyond strictness": ("world - class thresholds", DIRECTION),
    "beyond placebo": ("world - placebo", DIRECTION),
}
"""Statement on a world to the effect and functional that it is read from."""

FAMILY_LEVEL = 0.025
"""Of the family of statements on worlds; objects have the other half of 5 %."""

_COLUMNS = [
    "contrast", "statement", "estimate", "lo", "hi", "p", "n", "most", "B_change", "p_holm", "said",
]  # fmt: skip


def statements(strict: pd.DataFrame) -> pd.DataFrame:
    """The statements of a page on its worlds, as one family.

    One row per contrast and statement of `STATEMENTS`: estimate, limits of it alone, p, p_holm over all
    rows, the word that survives, the largest absolute change that the data leave open, and the change of
    the cross-fit B of the contrast: gaps that get smaller in their direction are no less bias if others open.
    """
    rows = []
    for contrast, part in strict.groupby("contrast", sort=False):
        indexed = part.set_index(["effect", "functional"])
        crossfit = float(indexed["estimate"].get(("world - null", "B_crossfit"), np.nan))
        for statement, key in STATEMENTS.items():
            if key in indexed.index:
                row = indexed.loc[key]
                limits = {name: row[name] for name in ("estimate", "lo", "hi", "p", "n")}
                most = largest_left_open(row["estimate"], row["se"], df=row["df"])
                names = {"contrast": contrast, "statement": statement}
                rows.append({**names, **limits, "most": most, "B_change": crossfit})
    if not rows:
        return pd.DataFrame(columns=_COLUMNS)
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p"])
    word = [decide(lo, hi) for lo, hi in zip(table["lo"], table["hi"], strict=True)]
    table["said"] = pd.Series(word).where(table["p_holm"] <= FAMILY_LEVEL, "not shown")
    return table[_COLUMNS]
