"""The rows of one triple: its columns over the patients who can be used, and why others cannot.

In a wide table every patient counts whose values are there. In an event table time orders what counts:

- The **index day** of a patient is the first of exposure, mediator and outcome; the end for those with none.
- A patient whose outcome comes no later than the exposure (or its washout), or whose mediator comes before the
  exposure, had it already and is left out. A prescription on the day of the diagnosis follows it.
- A mediator counts if it comes before the outcome.
- Covariates count if they come before the index day, or, with a baseline, before that day.
- Intermediate confounders count if they come before mediator and outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlbias.data.cohort import ObservationMap
from vlbias.data.graph import Triple
from vlbias.errors import BadData

__all__ = ["TimeRule", "TripleRows", "triple_rows"]

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class TimeRule:
    """How time orders an event table.

    Args:
        washout_days: So many days after the exposure an outcome still counts as prevalent.
        baseline: Day since 1970-01-01 before which covariates count; None for each patient's index day.
            Patients with mediator or outcome before it are left out.
    """

    washout_days: int = 0
    baseline: int | None = None


@dataclass(frozen=True)
class TripleRows:
    """Columns of a triple.

    Args:
        columns: Code to numbers [n], all there.
        rows: Which patients these are, [n].
        left_out: Reason to number of patients that are not in.
    """

    columns: Mapping[str, NDArray[np.float64]]
    rows: NDArray[np.int64]
    left_out: Mapping[str, int]


def triple_rows(
    seen: ObservationMap,
    triple: Triple,
    covariates: Sequence[str],
    between: Sequence[str] = (),
    time: TimeRule | None = None,
) -> TripleRows:
    """The rows of a triple.

    Args:
        seen: The cohort under its graph.
        triple: Exposure, mediator and outcome.
        covariates: Codes of further columns.
        between: Codes of intermediate confounders.
        time: How time orders events; the defaults of `TimeRule` if not given.

    Raises:
        UnknownName: if the cohort lacks a code.
        BadData: if no patient is left; says why.
    """
    codes = (triple.exposure, triple.mediator, triple.outcome, *covariates, *between)
    if seen.cohort.dated:
        columns, usable, left_out = _dated(seen, triple, (covariates, between), time or TimeRule())
    else:
        columns = {code: seen.values(code) for code in codes}
        usable, left_out = np.ones(len(seen.cohort), bool), {}
    whole = np.ones(len(seen.cohort), bool)
    for column in columns.values():
        whole &= np.isfinite(column)
    lacking = int((usable & ~whole).sum())
    if lacking:
        left_out = {**left_out, "missing values": lacking}
    rows = np.flatnonzero(usable & whole)
    if not len(rows):
        said = ", ".join(f"{why}: {count}" for why, count in left_out.items())
        raise BadData(f"{triple}: no patient is left ({said})")
    if len(rows) < len(usable):
        columns = {code: column[rows] for code, column in columns.items()}
    return TripleRows(columns, rows, left_out)


def _dated(
    seen: ObservationMap,
    triple: Triple,
    others: tuple[Sequence[str], Sequence[str]],
    time: TimeRule,
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_], dict[str, int]]:
    first, n = seen.cohort.first_day, len(seen.cohort)
    exposure, mediator, outcome = (
        _days(seen, code, n) for code in (triple.exposure, triple.mediator, triple.outcome)
    )
    exposed = exposure < _NEVER
    had_outcome = exposed & (outcome <= np.where(exposed, exposure, 0) + time.washout_days)
    had_mediator = exposed & (mediator < exposure) & ~had_outcome
    index = np.minimum(np.minimum(exposure, mediator), outcome)
    if time.baseline is not None:
        day = time.baseline - first + 1
        had_outcome |= outcome < day
        had_mediator |= (mediator < day) & ~had_outcome
        index = np.full(n, day)
    columns = {
        triple.exposure: exposed.astype(float),
        triple.mediator: (mediator < outcome).astype(float),
        triple.outcome: (outcome < _NEVER).astype(float),
    }
    for codes, limit in zip(others, (index, np.minimum(mediator, outcome)), strict=True):
        for code in codes:
            is_number = code in seen.cohort.numbers
            before = seen.cohort.numbers[code] if is_number else _days(seen, code, n) < limit
            columns[code] = before.astype(float)
    left_out = {
        "outcome before the exposure": int(had_outcome.sum()),
        "mediator before the exposure": int(had_mediator.sum()),
    }
    usable = ~(had_outcome | had_mediator)
    return columns, usable, {why: count for why, count in left_out.items() if count}


def _days(seen: ObservationMap, code: str, n: int) -> NDArray[np.int64]:
    days = np.full(n, _NEVER)
    rows, when = seen.first_days(code)
    days[rows] = when
    return days
