"""The cells of a study of editing: one sequence each, resumed between edits."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from vlbias.data.facts import Fact
from vlbias.edits.keys import key_moments
from vlbias.edits.methods import method_of
from vlbias.edits.rank_one import Context
from vlbias.errors import NothingSolved
from vlbias.files import whole, write_json
from vlbias.models import load_model
from vlbias.runs import interfaces
from vlbias.runs.data_files import keyed_data
from vlbias.runs.events import QUIET, Events, Note, Progress, silent
from vlbias.runs.interfaces import Cell
from vlbias.runs.manifest import described
from vlbias.store.cell_writer import cell_key
from vlbias.studies.arms.work import about_data, about_model
from vlbias.studies.editing.asking import Before
from vlbias.studies.editing.lifelong import Lifelong
from vlbias.studies.editing.plan import EditingPlan, EditSequence
from vlbias.studies.knowledge.known import are_answered

__all__ = ["Work", "estimate"]

_WORDS = (5, 10)
"""Lengths of prefixes, in words: those of Meng et al. are of so many tokens."""


class Work(interfaces.Work):
    """What all cells of a process share: the model, and which facts it knows.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
    """

    def __init__(self, plan: EditingPlan, folder: Path, note: Note = silent) -> None:
        self.plan, self.folder, study = plan, folder, plan.study
        self.model: Any = load_model(study.model, device=study.device, dtype=study.dtype)
        note("asking which facts the model knows")
        self.edited, self.probes = self._known()
        base = cell_key(self._determined_by())
        self.cells = [
            Cell(cell_key({"study": base, **self._about(part)}), part, ".json")
            for part in plan.parts
        ]

    def _known(self) -> tuple[list[Fact], list[Fact]]:
        study, facts = self.plan.study, self.plan.facts.facts
        said = are_answered(self.model, [(fact.prompt, fact.answer) for fact in facts])
        known = [fact for fact, right in zip(facts, said, strict=True) if right]
        if len(known) <= study.edits:
            raise NothingSolved(
                f"{self.model.name} knows {len(known)} of {len(facts)} facts, too few to edit {study.edits} "
                "and ask others: give other facts, a model that knows them, or fewer edits"
            )
        draw = random.Random(study.seed)
        drawn = sorted(known, key=lambda _: draw.random())
        return drawn[: study.edits], drawn[study.edits : study.edits + study.probes]

    def _determined_by(self) -> dict[str, Any]:
        study, plan = self.plan.study, self.plan
        return {
            **study.model_dump(
                mode="json", include={"edits", "probes", "prefixes", "seed", "dtype"}
            ),
            "points": study.points,
            "model": self.model.name,
            "revision": self.model.revision,
            "data": keyed_data(self.folder, plan.facts.content_hash, plan.files),
            "texts": cell_key({"texts": plan.texts, "utility": plan.utility}),
            "version": version("vlbias"),
        }

    def _about(self, part: EditSequence) -> dict[str, Any]:
        return {"method": part.method.model_dump(mode="json"), "protocol": part.protocol}

    @cached_property
    def context(self) -> Context:
        """Second moments of the maps of all methods, and prefixes."""
        study = self.plan.study
        maps = {}
        for one in study.methods:
            for map_ in method_of(one.name, one.options, one.search).maps(self.model):
                maps[map_.path] = map_
        moments = key_moments(
            self.model, list(maps.values()), self.plan.texts, self.folder / "moments"
        )
        long = [text.split() for text in self.plan.texts if len(text.split()) >= max(_WORDS)]
        source = long or [text.split() for text in self.plan.texts]
        words = [source[n % len(source)][: _WORDS[n % len(_WORDS)]] for n in range(study.prefixes)]
        return Context(moments, tuple(" ".join(some) for some in words))

    @cached_property
    def before(self) -> Before:
        """What the unedited model says."""
        return Before.of(self.model, self.edited, self.probes, self.plan.utility)

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
        """Write samples.parquet, one row a fact that is edited or asked."""
        roles = [(fact, "edited") for fact in self.edited]
        roles += [(fact, "probe") for fact in self.probes]
        rows = [
            {"sample_id": f.id, "cluster": f.subject, "group": f.group, "role": role, "prompt": f.prompt,
             "answer": f.answer, "edited_to": f.target}
            for f, role in roles
        ]  # fmt: skip
        with whole(self.folder / "samples.parquet") as temporary:
            pd.DataFrame(rows).to_parquet(temporary)

    def prepare(self, todo: Sequence[Cell], progress: Progress) -> Collection[str]:
        """Measure second moments of keys once, for all processes."""
        if todo:
            progress.events.note("measuring second moments of keys")
            _ = self.context
        return ()

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """See `Work.samples`."""
        return [(fact.id, fact.subject) for fact in self.edited]

    def fill(self, key: str, part: Any) -> None:
        """See `Work.fill`."""
        study, state = self.plan.study, self.folder / "sequences" / f"{key}.pt"
        lifelong = Lifelong(
            *(self.model, part, self.before, self.context, study.points, study.seed, state)
        )
        said = {"label": part.method.label, "method": part.method.name, "protocol": part.protocol}
        write_json(Cell(key, part, ".json").path(self.folder), {**said, **lifelong.run()})


def estimate(plan: EditingPlan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line: from the first edit of every method."""
    yield f"sequences {plan.n_parts}, edits {plan.study.edits} each"
    with TemporaryDirectory() as folder:
        work = Work(plan, Path(folder), events.note)
        context = work.context
        events.note("timing one edit of each method")
        seconds = 0.0
        for number, part in enumerate(plan.parts):
            once = Before(work.edited[:1], work.probes, ((),), ())  # type: ignore[arg-type]
            began = time.monotonic()
            state = Path(folder) / f"{number}.pt"
            Lifelong(work.model, part, once, context, (), plan.study.seed, state).run()
            seconds += (time.monotonic() - began) * part.edits
    yield f"estimated time {seconds / 60:.1f} min on {plan.study.device}, checkpoints not counted"
