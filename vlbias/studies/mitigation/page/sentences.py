"""Sentences of the page of a run of mitigations: what was found, and how it is to be read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.numbers import Tables
from vlbias.studies.mitigation.results import Conditions

__all__ = ["headline", "left_out", "margins_in_words", "reading"]


def headline(tables: Tables) -> str:
    """How many settings reduce bias beyond a moved threshold and their placebo, and which."""
    chosen = tables.verdicts[tables.verdicts["chosen"]]
    reduced = chosen[chosen["bias"] == "reduced"]
    both = reduced[reduced["performance_verdict"] == "kept"]
    sure = int((reduced["p_bh"] < 0.05).sum())
    over = int((chosen["over_threshold_hi"] < 0).sum())
    said = (
        f"Settings: {len(chosen)}. Less disparity than a moved threshold leaves: {over}; less than their "
        f"placebo leaves too: {len(reduced)} ({sure} after correction for the number of settings); of these "
        f"shown to keep performance: {len(both)}."
    )
    names = ", ".join(reduced["setting"]) or "none"
    null = tables.conditions[tables.conditions["role"] == "none"].iloc[0]
    doubt = (
        f" On the reported photos the bias of the model as it is cannot be told from noise (B "
        f"{null['B_plugin']:.3f}, floor {null['floor']:.3f}, p {null['p']:.3f}): a mitigation can hardly be "
        "shown to reduce it, and shares of it mean nothing."
        if null["p"] >= 0.05
        else ""
    )
    return f"{said} Shown beyond placebo: {names}.{doubt}"


def reading(row: pd.Series[Any]) -> str:
    """What one setting changes at its chosen strength, from its row of the verdicts."""
    what = f"{row['setting']} at strength {row['strength']:g}: "
    if pd.isna(row["attributable"]):
        beyond = "it has no placebo"
    else:
        limits = f"[{row['attributable_lo']:+.3f}, {row['attributable_hi']:+.3f}]"
        beyond = f"{row['attributable']:+.3f} {limits} beyond its placebo"
    over = f"{row['over_threshold']:+.3f} [{row['over_threshold_lo']:+.3f}, {row['over_threshold_hi']:+.3f}]"
    verdict = {"kept": "kept", "lost": "lost", "not shown": "not shown to be kept"}
    fate = verdict[row["performance_verdict"]]
    limits = f"[{row['performance_lo']:+.4f}, {row['performance_hi']:+.4f}]"
    price = f"{row['performance_metric']} {row['performance']:+.4f} {limits}"
    over_all = ""
    if row["bias"].startswith("reduced") and row["over_threshold_share"] > 1:
        over_all = (
            " That is more than there was: in this direction the gaps now point the other way."
        )
    admissible = "" if row["admissible"] else " No strength kept performance on the choosing split."
    return (
        f"{what}{row['bias']}. Of the cross-fit B {row['B_null']:.3f} it changes {over} over a moved "
        f"threshold, {beyond}; performance is {fate} ({price})."
        f"{over_all}{admissible}"
    )


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
