"""Verdicts on settings and strengths: four statements, kept apart, and their p-values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from vlbias.analysis.attributable_change import DIRECTION, AttributableChange, decide
from vlbias.analysis.corrections import holm
from vlbias.analysis.error_levels import ErrorLevels
from vlbias.analysis.retention import compare_retention, worst
from vlbias.studies.mitigation.numbers.performance import ConditionPerformance
from vlbias.studies.mitigation.numbers.strength_choice import PRIMARY

__all__ = ["STATEMENTS", "retention_of", "verdict_of", "with_choice"]

STATEMENTS = {"change": "bias", "over_threshold": "over_threshold", "attributable": "attributable"}
"""Columns of the limits of statements (a), (b) and (c), and what each is called."""

_EFFECTS = (
    ("change", "intervention - null", "B_plugin"),
    ("change_crossfit", "intervention - null", "B_crossfit"),
    ("threshold", "threshold - null", DIRECTION),
    ("over_one_threshold", "intervention - threshold", DIRECTION),
    ("over_threshold", "intervention - class thresholds", DIRECTION),
    ("placebo", "placebo - class thresholds", DIRECTION),
    ("attributable", "intervention - placebo", DIRECTION),
)


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
    found: AttributableChange,
    levels: ErrorLevels | None,
    kept: pd.DataFrame,
    bias: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> dict[str, Any]:
    """The row of one condition of a mitigation.

    Args:
        about: Its row of `Conditions.frame`.
        found: What it changes.
        levels: Either group's errors; None with more than two groups.
        kept: From `retention_of`.
        bias: Rows of the table of conditions, of the model as it is and of the condition.
    """
    metrics = kept.set_index("metric")
    verdict = worst(metrics["verdict"].to_dict())
    given = [metric for metric in PRIMARY if metric in metrics.index]
    metric = next((m for m in given if metrics.loc[m, "verdict"] == verdict), given[0])
    change, (null, own) = metrics.loc[metric], bias
    return {
        **{name: about[name] for name in ("setting", "method", "varied", "strength")},
        "bias": found.decision,
        **dict(_effects(found)),
        "placebos": found.placebos,
        "placebo_rank_p": found.placebo_rank_p,
        **({} if levels is None else levels.row()),
        "performance_metric": metric,
        "performance": change["change"],
        "performance_lo": change["lo"],
        "performance_hi": change["hi"],
        "performance_verdict": verdict,
        "photos": found.photos,
        "B_null": found.null,
        "B_crossfit_null": null["B_crossfit"],
        "B_crossfit": own["B_crossfit"],
        "mean_fpr": found.fpr,
        "functional": DIRECTION,
    }


def _effects(found: AttributableChange) -> Iterator[tuple[str, float]]:
    """Estimates with limits, p-values, and shares where their denominator may not be 0."""
    for column, effect, functional in _EFFECTS:
        there = bool((found.table["effect"] == effect).any())
        row = found.row(effect, functional) if there else None
        for ending, name in (("", "estimate"), ("_lo", "lo"), ("_hi", "hi"), ("_p", "p")):
            yield f"{column}{ending}", np.nan if row is None else row[name]
        bounded = row is not None and np.isfinite([row["relative_lo"], row["relative_hi"]]).all()
        yield f"{column}_share", -row["relative"] if bounded and row is not None else np.nan


def with_choice(verdicts: pd.DataFrame, choice: pd.DataFrame) -> pd.DataFrame:
    """With what was chosen, and all statements on the chosen settings as one family.

    The family is every setting's statements (a), (b) and (c), adjusted after Holm: the words of the page
    hold together. Columns `bias_adjusted`, `over_threshold_adjusted` and `attributable_adjusted` have the
    words that survive, the same names with `_p_holm` the adjusted p-values.
    """
    chosen = choice[choice["chosen"]][["setting", "strength", "admissible"]].assign(chosen=True)
    table = verdicts.merge(chosen, on=["setting", "strength"], how="left")
    table["chosen"] = table["chosen"].eq(True)
    rows = table.index[table["chosen"]]
    raw = pd.DataFrame({column: table.loc[rows, f"{column}_p"] for column in STATEMENTS})
    ranked = table.loc[rows, "placebo_rank_p"]
    raw["attributable"] = ranked.where(ranked.notna(), raw["attributable"])
    adjusted = pd.DataFrame(holm(raw.to_numpy(float)), raw.index, raw.columns)
    for column, name in STATEMENTS.items():
        table[f"{name}_p_holm"] = adjusted[column].reindex(table.index)
        limits = zip(table[f"{column}_lo"], table[f"{column}_hi"], strict=True)
        word = pd.Series([decide(lo, hi) for lo, hi in limits], table.index)
        table[f"{name}_adjusted"] = word.where(table[f"{name}_p_holm"] <= 0.05, "not shown")
    return table
