"""How B of the null world moves with the rule of the labels, wrong labels, and irrelevant changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vlbias.analysis.label_uncertainty import uncertain_labels, wrong_given
from vlbias.analysis.sensitivity import feature_sensitivity, label_flips, label_rules
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["sensitivity"]

_COLUMNS = ["what", "setting", "photos", "n_objects", "B_plugin", "floor", "p"]
_COLUMNS += ["B_crossfit", "B_lo", "B_hi"]


def sensitivity(job: PresenceScores) -> pd.DataFrame:
    """One row per setting: B with its floor, beside B as it is reported.

    Label rules ask for so many agreeing captions, from the fewest that were run, each with its own
    photos and objects. Flips exchange the groups of a share of the photos at random. Uncertain labels are
    drawn anew, if the study says how often a caption errs. Changes are the contrasts without mediators; each
    stands under B of the same photos unchanged.
    """
    parts = [*_rules(job), _flips(job), *_uncertain(job), *_changes(job)]
    found = pd.concat(parts, ignore_index=True)
    return found.reindex(columns=_COLUMNS)


def _rules(job: PresenceScores) -> Iterator[pd.DataFrame]:
    votes = job.run.samples.get("agreeing_captions")
    if votes is None or not votes.astype(bool).all():
        return  # the groups were given, no caption rule made them
    rows = job.reported
    count, panel = votes.astype(int).to_numpy()[rows], job.whole.take(rows, job.panel.groups)
    rules = {
        f"at least {k} agreeing captions": np.where(count >= k, panel.group, "")
        for k in range(int(count.min()), int(count.max()) + 1)
        if {*panel.group[count >= k].tolist()} == set(panel.groups)
    }
    null = job.run.slab(job.null_contrast, "", "00")[rows]
    table = label_rules(panel, null, job.thresholds, rules, rng=job.rng())
    yield _named(table.rename(columns={"rule": "setting"}), "label rule")


def _flips(job: PresenceScores) -> pd.DataFrame:
    table = label_flips(job.panel, job.null, job.thresholds, objects=job.objects, rng=job.rng())
    setting = table["rate"].map(lambda rate: f"{rate:.0%} of the labels exchanged")
    table = table.assign(setting=setting, n=len(job.panel), n_objects=len(job.objects))
    return _named(table, "wrong labels")


def _uncertain(job: PresenceScores) -> Iterator[pd.DataFrame]:
    """B with the doubt about labels in its limits, where the study says how often a caption errs."""
    error = job.point.get("caption_error", 0.0)
    votes = job.run.samples.get("agreeing_captions")
    known = votes is not None and bool(votes.astype(bool).all())
    if not error or not known or len(job.panel.groups) != 2 or not len(job.objects):
        return
    wrong = wrong_given(votes.astype(int).to_numpy()[job.kept], error)
    row = uncertain_labels(
        job.panel, job.null, job.thresholds, wrong, objects=job.objects, rng=job.rng()
    )
    setting = f"a caption errs in {error:.0%}, labels drawn anew"
    table = pd.DataFrame([{**row, "setting": setting, "n": len(job.panel)}])
    yield _named(table.assign(n_objects=len(job.objects)), "uncertain labels")


def _changes(job: PresenceScores) -> Iterator[pd.DataFrame]:
    arms = dict(job.worlds())
    for contrast in job.unmediated:
        world = contrast.partition("->")[2]
        rows = np.flatnonzero(~(np.isnan(arms[world]) | np.isnan(job.null)).any(axis=1))
        if not len(rows):
            continue
        table = feature_sensitivity(
            job.panel.take(rows),
            job.null[rows],
            {world: arms[world][rows]},
            job.thresholds,
            objects=job.objects,
            rng=job.rng(),
        )
        setting = table["change_made"].replace("none", f"the photos of {world}, unchanged")
        yield _named(table.assign(setting=setting), "irrelevant change")


def _named(table: pd.DataFrame, what: str) -> pd.DataFrame:
    names = {
        "n": "photos",
        "plugin": "B_plugin",
        "crossfit": "B_crossfit",
        "lo": "B_lo",
        "hi": "B_hi",
    }
    return table.rename(columns=names).assign(what=what)
