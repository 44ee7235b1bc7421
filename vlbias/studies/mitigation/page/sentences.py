"""Sentences of the page of a run of mitigations: what was found, and how it is to be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from vlbias.report.claims import Sentence
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.claims import claim
from vlbias.studies.mitigation.numbers import Tables
from vlbias.studies.mitigation.other_gaps import with_larger_b
from vlbias.studies.mitigation.results import Conditions

__all__ = ["headline", "left_out", "margins_in_words", "reading", "readings"]


def headline(tables: Tables) -> Sentence:
    """How many settings reduce B, shrink the gaps that were there, and keep performance; and which."""
    chosen = tables.verdicts[tables.verdicts["chosen"]]
    found = {
        "reduced": chosen["bias_adjusted"] == "reduced",
        "over": chosen["over_threshold_adjusted"] == "reduced",
        "beyond": chosen["attributable_adjusted"] == "reduced",
        "kept": chosen["performance_verdict"] == "kept",
    }
    counts = {name: int(rows.sum()) for name, rows in found.items()}
    names = {
        f"{name}_names": ", ".join(chosen.loc[rows, "setting"]) or "none"
        for name, rows in found.items()
    }
    both = with_larger_b(chosen) & (found["over"] | found["beyond"])
    larger = (
        f" With {', '.join(chosen.loc[both, 'setting'])} the estimate of B is larger than before all the same: "
        "other gaps opened, or these turned round."
        if both.any()
        else ""
    )
    return claim("settings-counted").say(settings=len(chosen), larger=larger, **counts, **names)


def readings(tables: Tables) -> list[Sentence]:
    """What the model shows as it is, if that is noise, and what every setting changes."""
    null = tables.conditions[tables.conditions["role"] == "none"].iloc[0]
    doubt = claim("null-not-shown").say(plugin=null["B_plugin"], floor=null["floor"], p=null["p"])
    chosen = tables.verdicts[tables.verdicts["chosen"]]
    return [
        *([doubt] if null["p"] > 0.05 else []),
        *(reading(row) for _, row in chosen.iterrows()),
    ]


def reading(row: pd.Series[Any]) -> Sentence:
    """What one setting changes at its chosen strength, from its row of the verdicts."""
    return claim("setting").say(
        setting=row["setting"],
        strength=row["strength"],
        bias={"reduced": "is reduced", "increased": "is increased"}.get(
            row["bias_adjusted"], "is not shown to change"
        ),
        lo=row["change_lo"],
        hi=row["change_hi"],
        over=_limits(row, "over_threshold"),
        over_word=_WORDS[row["over_threshold_adjusted"]],
        placebo=_placebo(row),
        performance=_KEPT[row["performance_verdict"]],
        metric=row["performance_metric"],
        change=_limits(row, "performance"),
        further="".join(_further(row)),
    )


_WORDS = {
    "reduced": "shown to be smaller",
    "increased": "shown to be larger",
    "not shown": "no difference shown after correction",
}
_KEPT = {"kept": "kept", "lost": "lost", "not shown": "not shown to be kept"}


def _placebo(row: pd.Series[Any]) -> str:
    if pd.isna(row["attributable"]):
        return "It has no placebo."
    which = "this placebo" if row["placebos"] == 1 else f"its {row['placebos']:.0f} placebos"
    rank = "" if pd.isna(row["placebo_rank_p"]) else f", rank p {row['placebo_rank_p']:.2f}"
    word = _WORDS[row["attributable_adjusted"]]
    return f"Beyond {which}: {_limits(row, 'attributable')}{rank}: {word}."


def _limits(row: pd.Series[Any], column: str) -> str:
    return f"{row[column]:+.3f} [{row[f'{column}_lo']:+.3f}, {row[f'{column}_hi']:+.3f}]"


def _further(row: pd.Series[Any]) -> Iterator[str]:
    if row["over_threshold_adjusted"] == "reduced" and row["over_threshold_share"] > 1:
        yield " That is more than there was: in this direction the gaps now point the other way."
    smaller = "reduced" in (row["over_threshold_adjusted"], row["attributable_adjusted"])
    if smaller and row["B_crossfit"] > row["B_crossfit_null"]:
        yield (
            f" The cross-fit estimate of B is larger than before all the same ({row['B_crossfit_null']:.3f} "
            f"before, {row['B_crossfit']:.3f} after): other gaps opened, or these turned round."
        )
    if row.get("levelling_down", False) is True:
        yield (
            " The gaps close in part because the group with fewer false positives gets more of them "
            f"({row['lower_before']:.3f} before, {row['lower_after']:.3f} after)."
        )
    if not row["admissible"]:
        yield " No strength kept performance on the choosing split."


def margins_in_words(tables: Tables) -> str:
    """When performance counts as kept, and which metrics have nothing to lose."""
    margins = tables.margins
    said = ", ".join(f"{metric} if less than {margin:g}" for metric, margin in margins.items())
    text = (
        f"Performance is kept if a loss is shown to be small: of {said}. The worst of them decides, and "
        "is named. Limits from resampled photos, the whole statistic computed anew; galleries of "
        "retrieval stay as they are."
    )
    for metric in margins:
        rows = tables.retention[tables.retention["metric"] == metric]
        if (rows["verdict"] == "").all():
            text += (
                f" {metric} of the model as it is (at most {rows['before'].max():.3f}) is not above its "
                "margin: it has nothing to lose, and no say."
            )
    asked = tables.retention["metric"].str.startswith("AUC of queries").any()
    return text + (
        " Queries that ask for a group must still work: their AUC is shown, not hidden."
        if asked
        else ""
    )


def left_out(run: Run, tables: Tables) -> list[str]:
    """Photos of the reported split that a method or its placebo could not be run on, and why."""
    split = run.manifest["study"]["mitigation"]["report"]
    unusable = Conditions(run).unusable(split)
    # what can be read does not hang on the strength
    known = unusable.merge(tables.conditions, left_on="condition", right_on="name")
    known["who"] = known["role"].map({"placebo": "the placebo of "}).fillna("") + known["method"]
    return [
        f"{why}: {photos} photos of {split}, left out for {' and '.join(rows['who'].unique())}"
        for (why, photos), rows in known.groupby(["why", "photos"], sort=False)
    ]
