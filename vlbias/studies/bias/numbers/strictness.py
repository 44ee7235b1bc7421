"""What a world changes: B itself, beyond equal strictness, and beyond its placebo."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vlbias.analysis.attributable_change import AttributableChange, Scored, attributable_change
from vlbias.analysis.error_levels import error_levels
from vlbias.analysis.panel import Floats
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["PLACEBOS", "levels", "strictness"]

PLACEBOS = {
    "mask-gender": "placebo-image",
    "replace-gender": "placebo-text",
    "both": "placebo-both",
}
"""World to its placebo."""

_COLUMNS = [
    "contrast",
    "effect",
    "functional",
    "estimate",
    "se",
    "df",
    "lo",
    "hi",
    "p",
    "n",
    "n_objects",
]


def strictness(job: PresenceScores) -> pd.DataFrame:
    """Change of the disparity in each world beside thresholds of equal strictness, and its placebo.

    The baselines are the base world with all thresholds moved by one shift to the world's mean
    false-positive rate, and with each class's threshold moved to the world's rate of that class. Effects
    of `attributable_change`, called "world", on the photos that have both worlds; "world - placebo" and
    "placebo - class thresholds" on those that have the placebo too.
    """
    found, worlds = [], dict(job.worlds())
    for contrast, base, other in _changed(job):
        null, arm = job.scores(contrast, "00"), job.scores(contrast, "11")
        change = _change(job, null, arm, None)
        tables = [_named(change, contrast)] if change else []
        placebo = PLACEBOS.get(other)
        if placebo in worlds and base == next(iter(worlds)):
            beside = _change(job, null, arm, worlds[str(placebo)])
            tables += [_against_placebo(beside, contrast)] if beside else []
        if change is not None:
            rates = {"fpr_base": change.fpr_null, "fpr_world": change.fpr}
            found += [table.assign(**rates, decision=change.decision) for table in tables]
    if not found:
        return pd.DataFrame(columns=[*_COLUMNS, "fpr_base", "fpr_world", "decision"])
    table = pd.concat(found, ignore_index=True)
    return table[[*_COLUMNS, "fpr_base", "fpr_world", "decision"]]


def _changed(job: PresenceScores) -> Iterator[tuple[str, str, str]]:
    for contrast in job.contrasts:
        base, _, other = contrast.partition("->")
        if base != other and len(job.objects):
            yield contrast, base, other


def _change(
    job: PresenceScores, null: Floats, world: Floats, placebo: Floats | None
) -> AttributableChange | None:
    """The change on the photos that have all of these; None where no photo has."""
    arms = [null, world, *([] if placebo is None else [placebo])]
    rows = np.flatnonzero(~np.isnan(np.stack(arms)).any(axis=(0, 2)))
    if not len(rows):
        return None
    first, last, *others = (Scored(arm[rows], job.thresholds) for arm in arms)
    return attributable_change(
        job.panel.take(rows),
        first,
        last,
        {"placebo": others[0]} if others else {},
        objects=job.objects,
        rng=job.rng(),
        draws=job.draws,
    )


def _named(found: AttributableChange, contrast: str) -> pd.DataFrame:
    effect = found.table["effect"].str.replace("intervention", "world")
    return found.table.assign(effect=effect, contrast=contrast)


def _against_placebo(found: AttributableChange, contrast: str) -> pd.DataFrame:
    table = _named(found, contrast)
    return table[table["effect"].isin(["placebo - class thresholds", "world - placebo"])]


def levels(job: PresenceScores) -> pd.DataFrame:
    """One row per contrast: either group's mean false-positive rate, before and after."""
    rows = []
    for contrast, _, _ in _changed(job):
        found = error_levels(
            job.panel,
            job.scores(contrast, "00"),
            job.scores(contrast, "11"),
            (job.thresholds, job.thresholds),
            objects=job.objects,
        )
        if found is not None:
            rows.append({"contrast": contrast, **found.row()})
    return pd.DataFrame(rows)
