"""The cells of a study of a cohort: some triples each, estimated one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from vlbias.files import whole, write_json
from vlbias.runs import interfaces
from vlbias.runs.events import QUIET, Events, Note, silent
from vlbias.runs.interfaces import Cell
from vlbias.runs.manifest import described
from vlbias.store.cell_writer import cell_key
from vlbias.studies.cohort.estimation import answer
from vlbias.studies.cohort.plan import CohortPlan
from vlbias.studies.cohort.questions import Question

__all__ = ["Work", "estimate"]

_TIMED = 8


class Work(interfaces.Work):
    """What all cells share: the cohort under its graph.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
    """

    def __init__(self, plan: CohortPlan, folder: Path, note: Note = silent) -> None:
        self.plan, self.folder = plan, folder
        shared = {
            "files": dict(plan.files),
            "cohort": plan.study.cohort.model_dump(mode="json", exclude={"path", "people"}),
            "graph": plan.study.graph.model_dump(mode="json", exclude={"path"}),
            "estimator": plan.study.estimator.model_dump(mode="json"),
            "seed": plan.study.seed,
            "version": version("vlbias"),
        }
        self.cells = [
            Cell(cell_key({**shared, "triples": [_key(one) for one in part]}), part, ".json")
            for part in plan.parts
        ]

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        study, cohort = self.plan.study, self.plan.seen.cohort
        return {
            **described(study, [cell.key for cell in self.cells], self.plan.rows),
            "data": {
                "content_hash": cell_key(dict(self.plan.files)),
                "files": {
                    "number": len(self.plan.files),
                    "digest": cell_key(dict(self.plan.files)),
                },
                "meta": {"reader": "cohort", "funnel": {}},
                "patients": len(cohort),
                "codes": len(cohort.columns),
                "dated": cohort.dated,
                "clusters": None if cohort.clusters is None else int(cohort.clusters.max()) + 1,
                "missing": {
                    code: len(rows) for code, rows in sorted(cohort.missing.items())[:1000]
                },
                "funnel": self.plan.funnel,
            },
        }

    def write_samples(self) -> None:
        """Write samples.parquet, one row a testable question, and untestable.parquet with the others."""
        rows = [
            {"sample_id": _key(one), "cluster": one.triple.mediator, **_named(one)}
            for one in self.plan.testable
        ]
        others = [
            {**_named(one), "why_not": one.why_not} for one in self.plan.questions if one.why_not
        ]
        columns = ["exposure", "mediator", "outcome", "control", "why_not"]
        edges = self.plan.graph.edges
        for name, frame in (
            ("samples", pd.DataFrame(rows)),
            ("untestable", pd.DataFrame(others, columns=columns)),
            ("edges", edges),
        ):
            with whole(self.folder / f"{name}.parquet") as temporary:
                frame.to_parquet(temporary)

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """Each triple, and its mediator."""
        return [(_key(one), one.triple.mediator) for one in part]

    def fill(self, key: str, part: Any) -> None:
        """See `Work.fill`."""
        study, rows = self.plan.study, list[dict[str, Any]]()
        for one in part:
            rows += answer(self.plan.seen, one, study.estimator, self.plan.time, study.seed)
        write_json(Cell(key, part, ".json").path(self.folder), rows)


def _key(question: Question) -> str:
    return f"{'control ' if question.control else ''}{question.triple}"


def _named(question: Question) -> dict[str, Any]:
    triple = question.triple
    return {
        "exposure": triple.exposure,
        "mediator": triple.mediator,
        "outcome": triple.outcome,
        "control": question.control,
    }


def estimate(plan: CohortPlan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line: cells, and time from a few triples spread over the study."""
    testable = plan.testable
    yield f"cells {len(plan.parts)}, {len(testable)} questions in all"
    events.note("timing a few triples")
    chosen = testable[:: max(len(testable) // _TIMED, 1)][:_TIMED]
    answer(plan.seen, chosen[0], plan.study.estimator, plan.time)  # loads libraries
    began = time.monotonic()
    for one in chosen:
        answer(plan.seen, one, plan.study.estimator, plan.time)
    each = (time.monotonic() - began) / len(chosen)
    yield (
        f"estimated time {each * len(testable) / 60:.1f} min in one process (from {len(chosen)} of them, "
        f"{each:.2f} s each)"
    )
