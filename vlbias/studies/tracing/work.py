"""The cells of a study of causal tracing: facts in worlds, through the engine, one direction only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from vlbias.data.facts import Fact
from vlbias.files import whole, write_json
from vlbias.models import load_model
from vlbias.runs import interfaces
from vlbias.runs.data_files import keyed_data
from vlbias.runs.events import QUIET, Events, Note, silent
from vlbias.runs.interfaces import Cell
from vlbias.runs.manifest import described
from vlbias.store.cell_writer import cell_key
from vlbias.studies.arms.work import about_data, about_model
from vlbias.studies.knowledge.restoring import Restorer
from vlbias.studies.tracing.plan import TracingPlan

__all__ = ["Work", "estimate"]

_KEYED = {
    "corruption",
    "noise",
    "draws",
    "parts",
    "window",
    "roles",
    "mediator_batch",
    "seed",
    "dtype",
}


class Work(interfaces.Work):
    """What all cells of a process share: the model, and the size of the noise.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
    """

    def __init__(self, plan: TracingPlan, folder: Path, note: Note = silent) -> None:
        self.plan, self.folder, study = plan, folder, plan.study
        self.model: Any = load_model(study.model, device=study.device, dtype=study.dtype)
        self.restorer = Restorer(self.model, study, study.seed, plan.facts.facts)
        base = cell_key(self._determined_by())
        self.cells = [
            Cell(cell_key({"study": base, "facts": [fact.id for fact in part]}), part, ".json")
            for part in plan.parts
        ]

    def _determined_by(self) -> dict[str, Any]:
        study, facts = self.plan.study, self.plan.facts
        return {
            **study.model_dump(mode="json", include=_KEYED),
            "model": self.model.name,
            "revision": self.model.revision,
            "data": keyed_data(self.folder, facts.content_hash, self.plan.files),
            "version": version("vlbias"),
        }

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        study, facts = self.plan.study, self.plan.facts
        return {
            **described(
                study, [cell.key for cell in self.cells], self.plan.rows, device=study.device
            ),
            "model": about_model(self.model)["model"] | {"layers": self.plan.layers},
            **about_data(facts, self.folder, self.plan.files),
            "noise_sd": self.restorer.sd,
        }

    def write_samples(self) -> None:
        """Write samples.parquet, one row a fact."""
        facts = self.plan.facts.facts
        rows = [
            {"sample_id": f.id, "cluster": f.subject, "group": f.group, "prompt": f.prompt, "answer": f.answer}
            for f in facts
        ]  # fmt: skip
        with whole(self.folder / "samples.parquet") as temporary:
            pd.DataFrame(rows).to_parquet(temporary)

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """See `Work.samples`."""
        return [(fact.id, fact.subject) for fact in part]

    def fill(self, key: str, part: Any) -> None:
        """See `Work.fill`."""
        facts: Sequence[Fact] = part
        rows = list(self.restorer.rows(facts))
        write_json(Cell(key, part, ".json").path(self.folder), {"facts": rows})


def estimate(plan: TracingPlan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line."""
    facts = plan.facts.facts
    yield f"facts {len(facts)}, cells {plan.n_parts}"
    yield f"effects {plan.rows:,}, of {plan.study.draws} draws each"
    events.note("timing two of them")
    with TemporaryDirectory() as folder:
        few = replace(plan.facts, facts=tuple(facts[i] for i in _spread(len(facts))))
        work = Work(replace(plan, facts=few), Path(folder), events.note)
        began = time.monotonic()
        known = [row["known"] for row in work.restorer.rows(few.facts)]
    seconds = (time.monotonic() - began) / max(sum(known), 1) * len(facts)
    yield f"estimated time {seconds / 60:.1f} min on {plan.study.device}, if all facts are known"


def _spread(count: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, 2))})
