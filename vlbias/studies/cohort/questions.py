"""The questions of a study: which triples there are, which can be tested, and why others cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd

from vlbias.data.adjustment import AdjustmentSet, adjustment_set
from vlbias.data.cohort import ObservationMap
from vlbias.data.graph import CausalGraph, Triple
from vlbias.errors import BadData
from vlbias.runs.events import Note, silent

__all__ = ["Question", "ask", "read_triples"]

_ROLES = ("exposure", "mediator", "outcome")


@dataclass(frozen=True)
class Question:
    """A triple and what is known before it is estimated.

    Args:
        adjustment: What it is adjusted for.
        control: Whether it is a negative control.
        why_not: Why it cannot be tested; empty if it can.
    """

    adjustment: AdjustmentSet
    control: bool = False
    why_not: str = ""

    @property
    def triple(self) -> Triple:
        """Exposure, mediator and outcome."""
        return self.adjustment.triple


def read_triples(path: Path) -> list[Triple]:
    """The triples of a table with columns exposure, mediator and outcome.

    Raises:
        BadData: if the file cannot be read, lacks a column, or has an empty cell.
    """
    separator = "," if path.suffix == ".csv" else "\t"
    try:
        frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read as a table ({error})") from error
    if not set(_ROLES) <= set(frame.columns):
        raise BadData(
            f"{path} has the columns {', '.join(frame.columns)}; expected {', '.join(_ROLES)}"
        )
    rows = [tuple(cell.strip() for cell in row) for row in frame[list(_ROLES)].to_numpy()]
    for number, row in enumerate(rows, start=2):
        if not all(row):
            raise BadData(f"{path}, row {number}: exposure, mediator and outcome need a code each")
    return [Triple(*row) for row in dict.fromkeys(rows)]


def ask(
    graph: CausalGraph,
    seen: ObservationMap,
    triples: Sequence[Triple],
    *,
    min_patients: int = 10,
    control_outcomes: Sequence[str] = (),
    controls_per_mediator: int = 0,
    seed: int = 0,
    note: Note = silent,
) -> list[Question]:
    """Every question of a study, with its adjustment set.

    Args:
        graph: The graph.
        seen: The cohort under the graph.
        triples: What is asked.
        min_patients: At least so many must have each code.
        control_outcomes: Outcomes that no mediator can cause.
        controls_per_mediator: Negative controls to draw for each mediator.
        seed: Of the draw.
        note: Told what is being done.
    """
    counts = seen.counts(sorted(graph.codes & seen.observed))
    controls = [
        *_given_controls(triples, control_outcomes),
        *_drawn_controls(graph, counts, triples, controls_per_mediator, min_patients, seed),
    ]
    asked = [(triple, False) for triple in triples]
    asked += [(triple, True) for triple in dict.fromkeys(controls)]
    questions = []
    for number, (triple, control) in enumerate(asked):
        if number % 1000 == 0:
            note(f"adjustment sets: {number} of {len(asked)}")
        questions.append(_question(graph, seen, counts, triple, control, min_patients))
    return questions


def _question(
    graph: CausalGraph,
    seen: ObservationMap,
    counts: dict[str, int],
    triple: Triple,
    control: bool,
    least: int,
) -> Question:
    for role, code in zip(_ROLES, (triple.exposure, triple.mediator, triple.outcome), strict=True):
        if code not in graph.codes:
            return Question(AdjustmentSet(triple), control, f"{role} {code} is not in the graph")
        if code not in seen.observed:
            return Question(AdjustmentSet(triple), control, f"{role} {code} is not in the cohort")
        if counts[code] < least:
            why = f"{role} {code}: {counts[code]} patients, fewer than {least}"
            return Question(AdjustmentSet(triple), control, why)
        if counts[code] == len(seen.cohort) and code not in seen.cohort.numbers:
            why = f"{role} {code} is the same for all patients"
            return Question(AdjustmentSet(triple), control, why)
    adjustment = adjustment_set(graph, triple, seen.observed)
    return Question(adjustment, control, "" if adjustment.testable else adjustment.reason)


def _given_controls(triples: Sequence[Triple], outcomes: Sequence[str]) -> Iterator[Triple]:
    for exposure, mediator in dict.fromkeys((one.exposure, one.mediator) for one in triples):
        for outcome in outcomes:
            if outcome not in (exposure, mediator):
                yield Triple(exposure, mediator, outcome)


def _drawn_controls(
    graph: CausalGraph,
    counts: dict[str, int],
    triples: Sequence[Triple],
    number: int,
    least: int,
    seed: int,
) -> Iterator[Triple]:
    """Triples with outcomes that the mediator causes neither by the graph nor by any question."""
    if not number:
        return
    asked: dict[tuple[str, str], set[str]] = {}
    suspected: dict[str, set[str]] = {}
    for one in triples:
        asked.setdefault((one.exposure, one.mediator), set()).add(one.outcome)
        suspected.setdefault(one.mediator, set()).add(one.outcome)
    rng = np.random.default_rng(seed)
    common = sorted(
        code for code in graph.causes if code not in graph.drugs and counts.get(code, 0) >= least
    )
    for exposure, mediator in asked:
        if exposure not in graph.causes or mediator not in graph.causes:
            continue
        caused = {mediator, exposure, *suspected[mediator]}
        for code in tuple(caused):
            if code in graph.causes and code != exposure:
                caused |= nx.descendants(graph.causes, code)
        causes = nx.ancestors(graph.causes, exposure) | nx.ancestors(graph.causes, mediator)
        near = frozenset().union(*(graph.relatives(code) for code in (*caused, *causes)))
        free = [code for code in common if code not in caused | causes | near]
        for place in rng.permutation(len(free))[:number]:
            yield Triple(exposure, mediator, free[place])
