"""Tables of the page of a run of mitigations: columns chosen and put in words."""

from __future__ import annotations

import pandas as pd

from vlbias.studies.mitigation.numbers import Tables
from vlbias.studies.mitigation.other_gaps import told_apart

__all__ = ["ablation_table", "condition_table", "performance_table", "summary_table"]


def summary_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row per setting at its chosen strength, in the words of the page."""
    rows = verdicts[verdicts["chosen"]]
    levels = (
        {
            "FPR of the group with more": _before_after(rows, "higher"),
            "FPR of the group with fewer": _before_after(rows, "lower"),
        }
        if "lower_before" in rows
        else {}
    )
    return pd.DataFrame(
        {
            "setting": rows["setting"],
            "strength": rows["strength"],
            "B": rows["bias_adjusted"],
            "gaps over thresholds": told_apart(rows, "over_threshold_adjusted"),
            "gaps over placebo": told_apart(rows, "attributable_adjusted"),
            "performance": rows["performance_verdict"],
            "change of B": _with_limits(rows, "change"),
            "over thresholds by class": _with_limits(rows, "over_threshold"),
            "over its placebo": _with_limits(rows, "attributable"),
            "share": rows["attributable_share"].map(_percent),
            "over one threshold": _with_limits(rows, "over_one_threshold"),
            "placebo": rows["placebo"],
            "photos": rows["photos"],
            **levels,
            "change of performance": _of_performance(rows),
        }
    )


def _before_after(rows: pd.DataFrame, group: str) -> pd.Series[str]:
    found = [
        f"{before:.3f} → {after:.3f}"
        for before, after in zip(rows[f"{group}_before"], rows[f"{group}_after"], strict=True)
    ]
    return pd.Series(found, rows.index)


def ablation_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row per method, setting and strength; a star marks what was chosen."""
    rows = verdicts
    return pd.DataFrame(
        {
            "method": rows["method"],
            **({"site or setting": rows["varied"]} if rows["varied"].any() else {}),
            "strength": rows["strength"].map("{:g}".format)
            + rows["chosen"].map({True: " *", False: ""}),
            "photos": rows["photos"],
            "B, cross-fit": rows["B_crossfit"],
            "mean FPR": rows["mean_fpr"],
            "over thresholds": rows["over_threshold_share"].map(_percent),
            "placebo": rows["placebo_share"].map(_percent),
            "over its placebo": rows["attributable_share"].map(_percent),
            "change of B": _with_limits(rows, "change"),
            "gaps over its placebo": _with_limits(rows, "attributable"),
            "change of performance": _of_performance(rows),
            "bias": rows["bias"],
            "performance": rows["performance_verdict"],
        }
    )


def performance_table(tables: Tables) -> pd.DataFrame:
    """Every metric of the settings at their chosen strengths."""
    chosen = tables.verdicts[tables.verdicts["chosen"]][["setting", "strength"]]
    rows = tables.retention[tables.retention["role"] == "mitigated"].merge(
        chosen, on=["setting", "strength"]
    )
    columns = ["setting", "strength", "metric", "before", "after", "change", "lo", "hi", "verdict"]
    return rows[columns]


def condition_table(tables: Tables) -> pd.DataFrame:
    """B of every condition, with floor, test and limits."""
    columns = [
        "name",
        "B_plugin",
        "floor",
        "p",
        "B_crossfit",
        "B_lo",
        "B_hi",
        "B_lin",
        "mean_fpr",
        "n_objects",
    ]
    return tables.conditions[columns]


def _with_limits(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    parts = [rows[name] for name in (column, f"{column}_lo", f"{column}_hi")]
    found = [
        "–" if pd.isna(value) else f"{value:+.3f} [{lo:+.3f}, {hi:+.3f}]"
        for value, lo, hi in zip(*parts, strict=True)
    ]
    return pd.Series(found, rows.index)


def _of_performance(rows: pd.DataFrame) -> pd.Series[str]:
    return rows["performance_metric"] + " " + _with_limits(rows, "performance")


def _percent(share: float) -> str:
    return "–" if pd.isna(share) else f"{round(share, 2) + 0.0:.0%}"  # no minus before a zero
