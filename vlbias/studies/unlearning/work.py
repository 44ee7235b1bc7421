"""The cells of a study of unlearning: one model each, trained where it must be, and evaluated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from vlbias.edits.change import Change
from vlbias.edits.methods import training_of
from vlbias.edits.weights import weight_blocks
from vlbias.errors import NothingSolved
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
from vlbias.studies.unlearning.evaluation import (
    Evaluation,
    losses_of,
    next_log_probabilities,
)
from vlbias.studies.unlearning.plan import Condition, TracedFacts, UnlearningPlan

__all__ = ["Work", "estimate"]


class Work(interfaces.Work):
    """What all cells of a process share: the model, gold, and what both are asked.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.

    Raises:
        NothingSolved: if the model knows none of the facts to forget.
    """

    def __init__(self, plan: UnlearningPlan, folder: Path, note: Note = silent) -> None:
        self.plan, self.folder, study = plan, folder, plan.study
        self.model: Any = load_model(study.model, device=study.device, dtype=study.dtype)
        self.gold: Any = None
        if study.gold:
            self.gold = load_model(study.gold, device=study.device, dtype=study.dtype)
        forget = tuple(plan.group(study.forget))
        self.evaluation = Evaluation(
            forget,
            tuple(plan.group(study.retain)),
            tuple(plan.group(study.holdout)),
            plan.utility,
            study.relearn,
            None if self.gold is None else next_log_probabilities(self.gold, forget),
            study.longest,
        )
        if self.evaluation.forgotten(self.model, 0.0):
            raise NothingSolved(
                f"{self.model.name} knows none of the {len(forget)} facts to forget: there is nothing to take "
                "out. Give a model that was trained on them"
            )
        base = cell_key(self._determined_by())
        self.cells = [
            Cell(cell_key({"study": base, **self._about(part)}), part, ".json")
            for part in plan.parts
        ]

    def _determined_by(self) -> dict[str, Any]:
        plan, study = self.plan, self.plan.study
        named = {"forget", "retain", "holdout", "level", "relearn", "dtype", "longest"}
        return {
            **study.model_dump(mode="json", include=named),
            "model": self.model.name,
            "revision": self.model.revision,
            "gold": "" if self.gold is None else self.gold.revision,
            "data": keyed_data(self.folder, plan.facts.content_hash, plan.files),
            "utility": cell_key({"utility": plan.utility}),
            "version": version("vlbias"),
        }

    def _about(self, part: Condition | TracedFacts) -> dict[str, Any]:
        if isinstance(part, TracedFacts):
            assert self.plan.study.trace is not None
            settings = self.plan.study.trace.model_dump(mode="json", exclude={"facts"})
            every = [fact.id for fact in self.plan.traced]
            traced = [fact.id for fact in part.facts]
            return {"traced": traced, "of": every, "trace": settings, "seed": self.plan.study.seed}
        method = None if part.method is None else part.method.model_dump(mode="json")
        return {"label": part.label, "method": method, "seed": part.seed}

    @cached_property
    def bound(self) -> float:
        """Median loss of facts that no model was trained on; 0 where there are none."""
        held = self.evaluation.holdout
        return median(losses_of(self.model, held)) if held else 0.0

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        study, facts = self.plan.study, self.plan.facts
        return {
            **described(
                study, [cell.key for cell in self.cells], self.plan.rows, device=study.device
            ),
            **about_model(self.model),
            **about_data(facts, self.folder, self.plan.files),
        }

    def write_samples(self) -> None:
        """Write samples.parquet, one row a fact."""
        rows = [
            {"sample_id": f.id, "cluster": f.subject, "group": f.group, "prompt": f.prompt, "answer": f.answer}
            for f in self.plan.facts.facts
        ]  # fmt: skip
        with whole(self.folder / "samples.parquet") as temporary:
            pd.DataFrame(rows).to_parquet(temporary)

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """See `Work.samples`."""
        return [(fact.id, fact.subject) for fact in self.plan.facts.facts]

    def fill(self, key: str, part: Any) -> None:
        """See `Work.fill`."""
        path = Cell(key, part, ".json").path(self.folder)
        if isinstance(part, TracedFacts):
            write_json(path, {"traced": list(self.restorer.rows(part.facts))})
            return
        condition: Condition = part
        said = {"label": condition.label, "seed": condition.seed}
        write_json(path, {**said, **self._evaluated(key, condition)})

    @cached_property
    def restorer(self) -> Restorer:
        """Runs facts in their worlds, in the model as it is."""
        study = self.plan.study
        assert study.trace is not None
        return Restorer(self.model, study.trace, study.seed, self.plan.traced)

    def _evaluated(self, key: str, part: Condition) -> dict[str, Any]:
        if part.method is None:
            return self.evaluation.of(self.gold if part.label == "gold" else self.model)
        change = self.trained(part, self.folder / "training" / f"{key}.pt")
        with change.applied(self.model) as changed:
            numbers = self.evaluation.of(changed)
        blocks = {str(one.site): one.names for one in weight_blocks(self.model, part.method.sites)}
        back = self.evaluation.put_back(self.model, change, blocks) if len(blocks) > 1 else {}
        notes = {name: change.notes[name] for name in ("steps", "stopped", "weights_of_retain")}
        cost = asdict(change.cost(self.model.net))
        return {**numbers, **notes, **cost, "put_back": back, "blocks": list(blocks)}

    def trained(self, part: Condition, state: Path) -> Change:
        """The change that a condition's training makes; goes on where it was broken off."""
        assert part.method is not None
        method, study = part.method, self.plan.study
        training = training_of(
            *(method.sites, method.loss, method.options), bound=self.bound, seed=part.seed
        )
        forget, retain = (
            [(text, fact.answer) for fact in facts for text in fact.prompts]
            for facts in (self.evaluation.forget, self.evaluation.retain)
        )
        change = training.fit(
            self.model,
            forget,
            retain,
            until=lambda model: bool(study.level) and self.evaluation.forgotten(model, study.level),
            state=state,
        )
        state.unlink(missing_ok=True)
        return change


def estimate(plan: UnlearningPlan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take at most, line by line: from a few steps of the first method."""
    yield f"conditions {plan.n_parts}, facts {len(plan.facts.facts)}"
    with TemporaryDirectory() as folder:
        work = Work(plan, Path(folder), events.note)
        events.note("timing five steps of training")
        seconds = 0.0
        for part in plan.conditions:
            if part.method is None:
                continue
            options = {**part.method.options, "steps": 5}
            method = part.method.model_copy(update={"options": options})
            began = time.monotonic()
            timed = Condition(part.label, method, part.seed, part.facts)
            work.trained(timed, Path(folder) / "timed.pt")
            whole_run = training_of(
                *(part.method.sites, part.method.loss, part.method.options), bound=1.0
            )
            seconds += (time.monotonic() - began) / 5 * whole_run.steps
    yield f"estimated time at most {seconds / 60:.1f} min on {plan.study.device}, evaluation not counted"
