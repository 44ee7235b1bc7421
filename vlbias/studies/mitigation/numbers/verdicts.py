"""Verdicts on settings and strengths: what is attributable, what performance is kept, and p-values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from vlbias.analysis.corrections import benjamini_hochberg
from vlbias.analysis.placebo_adjusted import DECIDES, PlaceboAdjusted
from vlbias.analysis.retention import compare_retention, worst
from vlbias.studies.mitigation.numbers.performance import ConditionPerformance
from vlbias.studies.mitigation.numbers.strength_choice import PRIMARY

__all__ = ["retention_of", "verdict_of", "with_choice"]


def retention_of(performance: ConditionPerformance, condition: str) -> pd.DataFrame:
    """Every metric of a condition before and after, with limits of its change."""
    scores = performance.scores
    photos = scores.complete(condition, "report")
    before = performance.before("report", photos)
    rows = []
    for metric, values in performance.metrics(condition, "report", photos):
        margin = scores.protocol[PRIMARY[metric]] if metric in PRIMARY else np.nan
        rows.append(
            {"metric": metric, **asdict(compare_retention(before[metric], values, margin=margin))}
        )
    return pd.DataFrame(rows)


def verdict_of(
    about: Mapping[str, Any],
    found: PlaceboAdjusted,
    kept: pd.DataFrame,
    null: Mapping[str, Any],
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """The row of one condition of a mitigation.

    Args:
        about: Its row of `Conditions.frame`.
        found: What is attributable to it.
        kept: From `retention_of`.
        null: The row of the model as it is of the table of conditions.
        own: The condition's own row of it.
    """
    metrics = kept.set_index("metric")
    verdict = worst(metrics["verdict"].to_dict())
    given = [metric for metric in PRIMARY if metric in metrics.index]
    metric = next((m for m in given if metrics.loc[m, "verdict"] == verdict), given[0])
    change = metrics.loc[metric]
    return {
        **{name: about[name] for name in ("setting", "method", "varied", "strength")},
        **dict(_effects(found)),
        "performance_metric": metric,
        "performance": change["change"],
        "performance_lo": change["lo"],
        "performance_hi": change["hi"],
        "photos": found.photos,
        "B_null": found.null,
        "B_crossfit_null": null["B_crossfit"],
        "B_crossfit": own["B_crossfit"],
        "mean_fpr": found.fpr,
        "bias": found.decision,
        "performance_verdict": verdict,
        "functional": DECIDES,
    }


def _effects(found: PlaceboAdjusted) -> Iterator[tuple[str, float]]:
    for column, effect in (
        ("change", "mitigated - null"),
        ("threshold", "threshold - null"),
        ("over_threshold", "mitigated - threshold"),
        ("placebo", "placebo - threshold"),
        ("attributable", "attributable"),
    ):
        decides = column in ("over_threshold", "attributable")
        lines = found.table[found.table["effect"] == effect]
        line = found.row(effect) if len(lines) else None
        yield column, np.nan if line is None else line["estimate"]
        for limit in ("lo", "hi") if decides else ():
            yield f"{column}_{limit}", np.nan if line is None else line[limit]
        if decides or column == "placebo":
            yield f"{column}_share", np.nan if line is None else -line["relative"]
        if decides:
            yield f"{column}_p", np.nan if line is None else line["p"]


def with_choice(verdicts: pd.DataFrame, choice: pd.DataFrame) -> pd.DataFrame:
    """With what was chosen, and false-discovery control over the chosen strengths of all settings."""
    chosen = choice[choice["chosen"]][["setting", "strength", "admissible"]].assign(chosen=True)
    table = verdicts.merge(chosen, on=["setting", "strength"], how="left")
    table["chosen"] = table["chosen"].eq(True)
    table["p_bh"] = np.nan
    tested = table["chosen"] & table["attributable_p"].notna()
    if tested.any():
        table.loc[tested, "p_bh"] = benjamini_hochberg(table.loc[tested, "attributable_p"])
    return table
