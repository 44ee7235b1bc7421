"""The numbers of a run of editing: what each edit cost and did, and what was left at checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlbias.analysis.paired_shares import paired_differences, with_holm
from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run

__all__ = ["FLASH", "SCORES", "Tables", "numbers"]

FLASH = 10.0
"""An edit that costs so many times the median of those before it is a flash."""
_FEWEST = 5
SCORES = ("edit_success", "generalisation", "locality", "edited_right", "unedited_right")
"""What the score is the harmonic mean of: ES, GS, LS, ERS and ORS of Hu et al. (2024)."""
_WHO = ["label", "protocol"]


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of a run, as tidy frames.

    Args:
        methods: One row a method and protocol: its last checkpoint, and its edits in short.
        checkpoints: One row a method, protocol and checkpoint.
        edits: One row an edit.
        drift: One row a method, protocol, checkpoint and site.
        differences: One row a protocol and pair of methods: unedited facts kept by one and not the other.
    """

    methods: pd.DataFrame
    checkpoints: pd.DataFrame
    edits: pd.DataFrame
    drift: pd.DataFrame
    differences: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Not used: nothing is resampled.
        seed: Not used.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged.
    """
    refuse_unfinished(run)
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in run.files]
    order = [method["label"] for method in run.manifest["study"]["methods"]]
    cells.sort(key=lambda cell: (cell["protocol"] != "sequence", order.index(cell["label"])))
    edits = pd.concat([_edits(cell) for cell in cells], ignore_index=True)
    checks = pd.concat([_checks(cell) for cell in cells], ignore_index=True)
    return Tables(
        methods=_methods(edits, checks),
        checkpoints=checks.drop(columns=["probes", "drift_by_site"]),
        edits=edits,
        drift=_drift(checks),
        differences=_differences(checks),
    )


def _edits(cell: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(cell["edits"])
    for shift in {"predicted_shift", "measured_shift"} & set(frame):
        frame[shift] = frame[shift].astype(float)
    frame.insert(0, "label", cell["label"])
    frame.insert(1, "protocol", cell["protocol"])
    before = frame["cost"].expanding().median().shift(1)
    enough = frame["number"] > _FEWEST
    frame["flash"] = enough & (frame["cost"] > FLASH * before)
    return frame


def _checks(cell: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for one in cell["checks"]:
        plain = {key: value for key, value in one.items() if key not in ("drift", "probes")}
        largest = max(one["drift"].values())
        rows.append(
            {
                "label": cell["label"],
                "protocol": cell["protocol"],
                **plain,
                "drift": largest,
                "drift_by_site": one["drift"],
                "probes": one["probes"],
            }
        )
    return pd.DataFrame(rows)


def _methods(edits: pd.DataFrame, checks: pd.DataFrame) -> pd.DataFrame:
    last = checks.groupby(_WHO, sort=False).tail(1)
    short = edits.groupby(_WHO, sort=False).agg(
        cost_median=("cost", "median"),
        cost_largest=("cost", "max"),
        flashes=("flash", "sum"),
        sites=("site", lambda chosen: ", ".join(sorted(set(chosen)))),
        seconds=("seconds", "sum"),
    )
    kept = [*_WHO, "edits", *SCORES, "score", "utility", "drift"]
    return last[kept].merge(short.reset_index(), on=_WHO)


def _drift(checks: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {**{key: row[key] for key in (*_WHO, "edits")}, "site": site, "drift": value}
        for _, row in checks.iterrows()
        for site, value in row["drift_by_site"].items()
    ]
    return pd.DataFrame(rows, columns=[*_WHO, "edits", "site", "drift"])


def _differences(checks: pd.DataFrame) -> pd.DataFrame:
    """Exact McNemar tests of unedited facts kept at the last checkpoint, Holm over all pairs."""
    frames = []
    for protocol, part in checks.groupby("protocol", sort=False):
        last = part.groupby("label", sort=False).tail(1)
        right = dict(zip(last["label"], last["probes"], strict=True))
        frame = paired_differences(right)
        frame.insert(0, "protocol", protocol)
        frames.append(frame)
    return with_holm(pd.concat(frames, ignore_index=True))
