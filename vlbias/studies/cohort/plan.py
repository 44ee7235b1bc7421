"""The checked plan of a study of a cohort: cohort and graph read, every triple asked about."""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlbias.data.cohort import ObservationMap
from vlbias.data.cohort_files import read_cohort
from vlbias.data.cohort_rows import TimeRule
from vlbias.data.graph import HYPOTHESES, CausalGraph
from vlbias.data.graph_files import read_graph
from vlbias.errors import BadData
from vlbias.files import hash_of_file
from vlbias.runs.events import Note, silent
from vlbias.runs.interfaces import Plan
from vlbias.studies.cohort.questions import Question, ask, read_triples
from vlbias.studies.cohort.study import Study

__all__ = ["CohortPlan", "make_plan"]

_ROWS_OF_TRIPLE = 60
"""Rows of ten bytes that a triple takes, for the check of free space."""


@dataclass(frozen=True)
class CohortPlan(Plan):
    """A checked study of a cohort.

    Args:
        study: The study.
        graph: The graph.
        seen: The cohort under the graph.
        questions: Everything that is asked, testable or not.
        files: Name to hash of every file that was read.
    """

    study: Study
    graph: CausalGraph
    seen: ObservationMap
    questions: tuple[Question, ...]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def testable(self) -> tuple[Question, ...]:
        """What is estimated."""
        return tuple(one for one in self.questions if not one.why_not)

    @property
    def parts(self) -> list[tuple[Question, ...]]:
        """The questions of each cell."""
        size, testable = self.study.shard_size, self.testable
        return [testable[start : start + size] for start in range(0, len(testable), size)]

    @property
    def rows(self) -> int:  # type: ignore[override]
        """See `Plan.rows`."""
        return _ROWS_OF_TRIPLE * len(self.testable)

    @property
    def time(self) -> TimeRule:
        """How time orders events."""
        day = self.study.cohort.baseline
        baseline = None if day is None else calendar.timegm(day.timetuple()) // 86_400
        return TimeRule(self.study.cohort.washout_days, baseline)

    @property
    def funnel(self) -> str:
        """See `Plan.funnel`."""
        cohort = self.seen.cohort
        lines = [
            f"patients                 {len(cohort)}",
            f"codes in the cohort      {len(cohort.columns)}, of these {self._shared()} in the graph",
            f"codes in the graph       {len(self.graph.codes)}, of these {self._observed()} in the cohort "
            "(directly or by a narrower code)",
        ]
        missing = {code: len(rows) for code, rows in cohort.missing.items()}
        if missing:
            worst = max(missing, key=lambda code: missing[code])
            lines.append(
                f"missing values           in {len(missing)} columns, most in {worst}: {missing[worst]}"
            )
        for control, name in ((False, "triples"), (True, "negative controls")):
            asked = [one for one in self.questions if one.control == control]
            if asked:
                lines += _counted(name, asked)
        return "\n".join(lines)

    def _shared(self) -> int:
        return len(self.seen.cohort.columns & self.graph.codes)

    def _observed(self) -> int:
        return len(self.graph.codes & self.seen.observed)

    @property
    def summary(self) -> str:
        """See `Plan.summary`."""
        said = []
        for control, name in ((False, "triples"), (True, "negative controls")):
            asked = [one for one in self.questions if one.control == control]
            testable = sum(not one.why_not for one in asked)
            said += [f"{testable} of {len(asked)} {name} can be tested"] if asked else []
        why = (
            ""
            if len(self.testable) == len(self.questions)
            else "; vlbias list triples says why not"
        )
        return ", ".join(said) + why

    @property
    def n_parts(self) -> int:
        """See `Plan.n_parts`."""
        return len(self.parts)


def _counted(name: str, asked: Sequence[Question]) -> list[str]:
    """How many of these questions can be tested, and why others cannot."""
    testable = [one for one in asked if not one.why_not]
    identified = sum(one.adjustment.identified for one in testable)
    between = sum(bool(one.adjustment.intermediate) for one in testable)
    lines = [
        f"{name:24} {len(asked)}, of these {len(testable)} testable",
        f"  natural effects        identified in {identified}",
        f"  interventional effects  {between}, where there is intermediate confounding",
    ]
    reasons = Counter(_kind_of(one.why_not) for one in asked if one.why_not)
    return lines + [
        f"  not testable           {count}: {why}" for why, count in reasons.most_common()
    ]


def _kind_of(why: str) -> str:
    """A reason without its codes, so that reasons can be counted."""
    for ending in ("not in the graph", "not in the cohort", "the same for all patients"):
        if why.endswith(ending):
            return f"{why.split()[0]} is {ending}"
    for inside in ("related by is-a", "has a cycle", "fewer than"):
        if inside in why:
            return {
                "related by is-a": "two codes are related by is-a",
                "has a cycle": "the graph has a cycle among their causes",
                "fewer than": f"{why.split()[0]} in too few patients",
            }[inside]
    return why


def make_plan(study: Study, note: Note = silent) -> CohortPlan:
    """The plan of a study.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadData: if cohort or graph cannot be read, share no code, or nothing can be tested; says why.
        UnknownName: if an edge is of an unknown type.
        MissingExtra: if a library for ontologies is not installed.
    """
    note("reading the graph")
    graph = read_graph(study.graph.paths, relations=study.graph.relations, icd10=study.graph.icd10)
    note("reading the cohort")
    table = study.cohort
    cohort = read_cohort(
        table.path, patient=table.patient, cluster=table.cluster, people=table.people
    )
    seen = ObservationMap(cohort, graph)
    if not cohort.columns & graph.codes:
        raise BadData(
            f"cohort and graph share no code; the cohort has {_few(cohort.columns)}, the graph "
            f"{_few(graph.codes)}. Write codes in one way in both"
        )
    files = {Path(path).name: hash_of_file(Path(path)) for path in study.graph.paths}
    files |= cohort.files
    if study.triples in HYPOTHESES:
        triples = graph.triples(study.triples)
    else:
        triples = read_triples(Path(study.triples))
        files[Path(study.triples).name] = hash_of_file(Path(study.triples))
    if not triples:
        raise BadData(
            f"the graph has no triple of the set {study.triples!r}: no code is prescribed for a code that "
            "causes an outcome. Name triples in a file, or another set"
        )
    questions = ask(
        graph,
        seen,
        triples,
        min_patients=study.estimator.min_patients,
        control_outcomes=study.controls.outcomes,
        controls_per_mediator=study.controls.per_mediator,
        seed=study.seed,
        note=note,
    )
    plan = CohortPlan(study, graph, seen, tuple(questions), files)
    if not plan.testable:
        raise BadData("nothing can be tested:\n" + plan.funnel)
    return plan


def _few(codes: frozenset[str]) -> str:
    return ", ".join(sorted(codes)[:5]) + (" …" if len(codes) > 5 else "")
