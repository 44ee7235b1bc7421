"""From a run of mitigations to every number of its page: frames, no prose, no figures."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from vlbias.runs.events import Note, silent
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.numbers.bias import ConditionBias
from vlbias.studies.mitigation.numbers.performance import ConditionPerformance
from vlbias.studies.mitigation.numbers.scores import ConditionScores
from vlbias.studies.mitigation.numbers.strength_choice import (
    PRIMARY,
    choose_strengths,
    described,
    main_metric,
)
from vlbias.studies.mitigation.numbers.verdicts import retention_of, verdict_of, with_choice
from vlbias.studies.mitigation.results import Conditions

__all__ = ["Tables", "numbers"]


@dataclass(frozen=True)
class Tables:
    """Everything the page of a run of mitigations shows, as tidy frames.

    Args:
        verdicts: One row per setting and strength: what it changes of B, beyond equal strictness and beyond
            its placebo, either group's errors, what of performance is kept, and whether the strength was
            chosen; for chosen ones the words that survive correction.
        choice: One row per condition on the choosing split: bias, performance, and the Pareto front.
        conditions: One row per condition on the reported split: B with floor, test and limits.
        changes: Every combination of conditions and functional with limits; see
            `vlbias.analysis.attributable_change`.
        retention: Every metric before and after with limits of its change.
        overhead: Milliseconds and memory of every method beside the model as it is.
        fits: What was fitted, on how many photos, in what time.
    """

    verdicts: pd.DataFrame
    choice: pd.DataFrame
    conditions: pd.DataFrame
    changes: pd.DataFrame
    retention: pd.DataFrame
    overhead: pd.DataFrame
    fits: pd.DataFrame

    @property
    def margins(self) -> dict[str, float]:
        """The largest loss of each metric that still counts as kept."""
        found = self.retention.groupby("metric")["margin"].first()
        return {metric: float(found[metric]) for metric in PRIMARY if metric in found}

    @property
    def metric(self) -> str:
        """The performance that bias is drawn against."""
        return main_metric(self.choice, self.margins)


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a finished run of mitigations.

    Raises:
        BadTable: if cells are missing, or nothing can be said of performance.
        BadStudy: if no object has enough photos and events in every group.
    """
    scores = ConditionScores(run, draws=draws, seed=seed)
    # first: what is damaged is said before anything is computed
    fits, overhead = scores.stored.fits(), _overhead(scores.stored)
    bias, performance = ConditionBias(scores), ConditionPerformance(scores)
    note("choosing strengths")
    choice = choose_strengths(bias, performance)
    conditions, retained, changes, verdicts = [], [], [], []
    for about in scores.stored.frame.to_dict("records"):
        name = about["name"]
        note(f"numbers of {name}")
        photos = scores.complete(name, "report")
        own, null = (bias.on(one, "report", photos)["B_crossfit"] for one in (name, "none"))
        conditions.append({**described(about), **bias.reported(name), "B_change": own - null})
        if about["role"] == "none":
            continue
        kept = retention_of(performance, name)
        retained.append(kept.assign(**described(about)))
        if about["role"] == "mitigated":
            found = bias.change(name, scores.stored.placebos(about))
            changes.append(found.table.assign(**described(about)))
            beside = (conditions[0], conditions[-1])
            verdicts.append(verdict_of(about, found, bias.levels(name), kept, beside))
    return Tables(
        with_choice(pd.DataFrame(verdicts), choice),
        choice,
        pd.DataFrame(conditions),
        pd.concat(changes, ignore_index=True),
        pd.concat(retained, ignore_index=True),
        overhead,
        pd.DataFrame(fits).drop(columns="notes"),
    )


def _overhead(stored: Conditions) -> pd.DataFrame:
    rows = []
    for one in stored.overheads():
        row = {"setting": one["name"], "strength": one["strength"], "photos": one["photos"]}
        for tower, times in one["ms"].items():
            what = "ms a text" if tower.startswith("text") else "ms a photo"
            row[what] = times["mitigated"]
            row[f"{what}, plain"] = times["plain"]
            row[f"{what}, change"] = f"{times['mitigated'] / times['plain'] - 1:+.1%}"
        row["more peak memory, MiB"] = one["extra_peak_mib"]
        row["stored, MiB"] = one["stored_mib"]
        rows.append(row)
    return pd.DataFrame(rows)
