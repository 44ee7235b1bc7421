"""From a run of mitigations to every number of its page: frames, no prose, no figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis.corrections import benjamini_hochberg
from vlbias.analysis.placebo_adjusted import DECIDES, Attribution, pareto
from vlbias.analysis.retention import compare, worst
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.numbers.scores import MitigationNumbers

__all__ = ["MitigationTables", "mitigation_tables", "placebos_of"]

_PRIMARY = {"AP": "margin", "mAP": "margin", "R@5": "margin_recall"}
"""What is to be kept, and the setting that is its margin."""


@dataclass(frozen=True)
class MitigationTables:
    """Everything the page of a run of mitigations shows, as tidy frames.

    Args:
        verdicts: One row per setting and strength: bias before and after, what is attributable, what of
            performance is kept, the decision in words, and whether the strength was chosen.
        choice: One row per condition on the choosing split: bias, performance, and the Pareto front.
        conditions: One row per condition on the reported split: B with floor, test and limits.
        changes: Every combination of conditions and functional with limits; see `attribution`.
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
        return {metric: float(found[metric]) for metric in _PRIMARY if metric in found}

    @property
    def metric(self) -> str:
        """The performance that bias is drawn against."""
        return _metric(self.choice, self.margins)


def mitigation_tables(
    run: Run, *, draws: int = 2000, seed: int = 0, note: Callable[[str], None] = lambda text: None
) -> MitigationTables:
    """All tables of a finished run of mitigations.

    Raises:
        BadTable: if cells are missing, or nothing can be said of performance.
        BadStudy: if no object has enough photos and events in every group.
    """
    job = MitigationNumbers(run, draws=draws, seed=seed)
    frame = job.stored.frame
    note("choosing strengths")
    choice = _choice(job, frame)
    conditions, retained, changes, verdicts = [], [], [], []
    for about in frame.to_dict("records"):
        note(f"numbers of {about['name']}")
        name = about["name"]
        whole = job.complete(name, "report")
        own, null = (job.bias_on(one, "report", whole)["B_crossfit"] for one in (name, "none"))
        conditions.append({**_named(about), **job.bias(name), "B_change": own - null})
        if about["role"] == "none":
            continue
        kept = _retention(job, about["name"])
        retained.append(kept.assign(**_named(about)))
        if about["role"] == "mitigated":
            found = job.attribution(about["name"], placebos_of(frame, about))
            changes.append(found.table.assign(**_named(about)))
            verdicts.append(_verdict(about, found, kept, conditions[0], conditions[-1]))
    return MitigationTables(
        _decided(pd.DataFrame(verdicts), choice),
        choice,
        pd.DataFrame(conditions),
        pd.concat(changes, ignore_index=True),
        pd.concat(retained, ignore_index=True),
        _overhead(job),
        pd.DataFrame(job.stored.fits()).drop(columns="notes"),
    )


_ABOUT = ("name", "setting", "method", "varied", "role", "draw", "strength")


def _named(about: dict[str, Any]) -> dict[str, Any]:
    return {name: about[name] for name in _ABOUT}


def placebos_of(frame: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, str]:
    """The placebos of a condition at its strength: number to name."""
    rows = frame[
        (frame["setting"] == about["setting"])
        & (frame["role"] == "placebo")
        & (frame["strength"] == about["strength"])
    ]
    return {f"placebo {row['draw']}": row["name"] for _, row in rows.iterrows()}


def _choice(job: MitigationNumbers, frame: pd.DataFrame) -> pd.DataFrame:
    """Bias and performance on the choosing split, the Pareto front, and the strength that is chosen.

    Every condition stands beside the model as it is on the same photos (columns with `_null`).
    """
    rows = []
    for about in frame.to_dict("records"):
        name = about["name"]
        whole = job.complete(name, "choose")
        own = _primary(dict(job.performance(name, "choose", whole)))
        numbers = {**job.bias_on(name, "choose", whole), **own}
        null = {**job.bias_on("none", "choose", whole), **_primary(job.before("choose", whole))}
        beside = {f"{key}_null": null[key] for key in numbers if key != "B_plugin"}
        rows.append({**_named(about), **numbers, **beside})
    table = pd.DataFrame(rows).assign(front=False, chosen=False)
    margins = {m: job.protocol[key] for m, key in _PRIMARY.items() if m in table}
    main = _metric(table, margins)
    own = table[table["role"].isin(["none", "mitigated"])]
    table.loc[own.index, "front"] = pareto(
        *(own[m] - own[f"{m}_null"] for m in ("B_crossfit", main))
    )
    for _, part in table[table["role"] == "mitigated"].groupby("setting", sort=False):
        kept = np.all([part[m] >= part[f"{m}_null"] - d for m, d in margins.items()], axis=0)
        if kept.any():
            best = part[kept].sort_values(["B_crossfit", "strength"], kind="stable").index[0]
        else:
            best = part[main].idxmax()
        table.loc[best, "chosen"] = True
        table.loc[best, "admissible"] = bool(kept.any())
    return table


def _metric(choice: pd.DataFrame, margins: Mapping[str, float]) -> str:
    """The first metric of which the model as it is has more than the margin to lose, if there is one."""
    null = choice[choice["role"] == "none"].iloc[0]
    able = [metric for metric, margin in margins.items() if null[metric] > margin]
    return (able or list(margins))[0]


def _primary(performance: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    return {metric: float(performance[metric][0]) for metric in performance if metric in _PRIMARY}


def _retention(job: MitigationNumbers, condition: str) -> pd.DataFrame:
    whole = job.complete(condition, "report")
    before = job.before("report", whole)
    rows = []
    for metric, values in job.performance(condition, "report", whole):
        margin = job.protocol[_PRIMARY[metric]] if metric in _PRIMARY else np.nan
        rows.append({"metric": metric, **asdict(compare(before[metric], values, margin=margin))})
    return pd.DataFrame(rows)


def _verdict(
    about: dict[str, Any],
    found: Attribution,
    kept: pd.DataFrame,
    null: dict[str, Any],
    own: dict[str, Any],
) -> dict[str, Any]:
    row = {name: about[name] for name in ("setting", "method", "varied", "strength")}
    for column, effect in (
        ("change", "mitigated - null"),
        ("threshold", "threshold - null"),
        ("over_threshold", "mitigated - threshold"),
        ("placebo", "placebo - threshold"),
        ("attributable", "attributable"),
    ):
        lines = found.table[found.table["effect"] == effect]
        line = found.row(effect) if len(lines) else None
        names = (
            ("estimate", "lo", "hi")
            if column in ("over_threshold", "attributable")
            else ("estimate",)
        )
        for name in names:
            key = column if name == "estimate" else f"{column}_{name}"
            row[key] = np.nan if line is None else line[name]
        if column in ("over_threshold", "placebo", "attributable"):
            row[f"{column}_share"] = np.nan if line is None else -line["relative"]
        if column in ("over_threshold", "attributable"):
            row[f"{column}_p"] = np.nan if line is None else line["p"]
    metrics = kept.set_index("metric")
    verdict = worst(metrics["verdict"].to_dict())
    given = [metric for metric in _PRIMARY if metric in metrics.index]
    deciding = [metric for metric in given if metrics.loc[metric, "verdict"] == verdict]
    row["performance_metric"] = metric = (deciding or given)[0]
    for name in ("change", "lo", "hi"):
        row["performance" if name == "change" else f"performance_{name}"] = metrics.loc[
            metric, name
        ]
    return {
        **row,
        "photos": found.photos,
        "B_null": found.null,
        "B_crossfit_null": null["B_crossfit"],
        "B_crossfit": own["B_crossfit"],
        "mean_fpr": found.fpr,
        "bias": found.decision,
        "performance_verdict": verdict,
        "functional": DECIDES,
    }


def _decided(verdicts: pd.DataFrame, choice: pd.DataFrame) -> pd.DataFrame:
    """With what was chosen, and false-discovery control over the chosen strengths of all settings."""
    picked = choice[choice["chosen"]][["setting", "strength", "admissible"]].assign(chosen=True)
    table = verdicts.merge(picked, on=["setting", "strength"], how="left")
    table["chosen"] = table["chosen"].eq(True)
    table["p_bh"] = np.nan
    tested = table["chosen"] & table["attributable_p"].notna()
    if tested.any():
        table.loc[tested, "p_bh"] = benjamini_hochberg(table.loc[tested, "attributable_p"])
    return table


def _overhead(job: MitigationNumbers) -> pd.DataFrame:
    rows = []
    for one in job.stored.overheads():
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
