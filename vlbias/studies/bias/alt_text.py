"""What is seen in a figure, in words, for those who do not see it."""

from __future__ import annotations

import pandas as pd

from vlbias.report.columns import headed
from vlbias.report.tables import with_limits
from vlbias.studies.bias.figures import sites

__all__ = ["changes", "components", "conditions", "encoders", "objects", "operating"]


def conditions(table: pd.DataFrame) -> str:
    """Bars of B with the mark of their floor."""
    said = (
        f"{row['world']}: insufficient"
        if pd.isna(row["B_plugin"]) or row["n_objects"] == 0
        else f"{row['world']}: B {row['B_plugin']:.3f}, floor {row['floor']:.3f}, "
        f"cross-fit {row['B_crossfit']:.3f}"
        for _, row in table.iterrows()
    )
    return f"Bars, one a world. {'; '.join(said)}."


def changes(table: pd.DataFrame, functional: str = "B_lin") -> str:
    """What each contrast changes beyond thresholds matched class by class."""
    rows = table[
        (table["functional"] == functional) & (table["effect"] == "world - class thresholds")
    ]
    said = (f"{row['contrast']}: {with_limits(row)}" for _, row in rows.iterrows())
    what = f"Change of {headed(functional)} beyond class-by-class thresholds"
    return f"Points with limits. {what}. {'; '.join(said)}."


def encoders(effects: pd.DataFrame, functional: str = "B_lin") -> str:
    """Total effect and indirect effects through whole encoders."""
    rows = effects[(effects["functional"] == functional) & ~effects["mediator"].str.contains("/")]
    total = (rows["effect"] == "TE") & (rows["mediator"] == "")
    through = (rows["effect"] == "NIE") & (rows["mediator"] != "")
    said = (
        f"{row['contrast']}, {row['mediator'] or 'total'}: {with_limits(row)}"
        for _, row in rows[total | through].iterrows()
    )
    return f"Points with limits. {'; '.join(said)}."


def components(effects: pd.DataFrame, contrast: str, ports: tuple[str, ...], most: int = 3) -> str:
    """The components with the largest indirect effects, and how many survive correction."""
    rows = sites(effects, contrast, "B_lin")
    rows = rows[rows["port"].isin(ports)]
    largest = rows.reindex(rows["estimate"].abs().sort_values(ascending=False).index).head(most)
    said = "; ".join(f"{row['mediator']} {with_limits(row)}" for _, row in largest.iterrows())
    sure = int((rows["p_adjusted"] < 0.05).sum())
    return f"{len(rows)} components; {sure} survive correction. Largest: {said}."


def objects(table: pd.DataFrame, most: int = 5) -> str:
    """The objects with the largest gaps."""
    rows = table[table["status"] == "ok"].rename(columns={"gap": "estimate"})
    rows = rows.reindex(rows["estimate"].abs().sort_values(ascending=False).index).head(most)
    said = "; ".join(f"{row['object']} {with_limits(row)}" for _, row in rows.iterrows())
    return f"Points with limits, one an object. Largest: {said}."


def operating(table: pd.DataFrame) -> str:
    """B of every world at the ends of its curve."""
    said = []
    for name, whole in table[table["B_crossfit"].notna()].groupby("arm", sort=False):
        first, last = whole.iloc[0], whole.iloc[-1]
        ends = (f"{row['B_crossfit']:.3f} at {row['fpr']:g}" for row in (first, last))
        said.append(f"{name}: {', '.join(ends)}")
    return f"Curves of cross-fit B over false-positive rates. {'; '.join(said)}."
