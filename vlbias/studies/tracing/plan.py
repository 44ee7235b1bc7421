"""The checked plan of a study of causal tracing: its facts and its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vlbias.data.fact_files import FactSet
from vlbias.data.facts import Fact
from vlbias.models import outline_model
from vlbias.runs.events import Note, silent
from vlbias.studies.knowledge.fact_choice import facts_of
from vlbias.studies.knowledge.fact_plan import FactPlan
from vlbias.studies.knowledge.known import refuse_other_models
from vlbias.studies.tracing.roles import ROLES
from vlbias.studies.tracing.study import Study

__all__ = ["TracingPlan", "make_plan"]


@dataclass(frozen=True)
class TracingPlan(FactPlan):
    """A checked study of causal tracing.

    Args:
        study: The study.
        facts: In the order in which they are run.
        layers: Blocks of the model.
        files: See `Plan.files`.
    """

    study: Study
    facts: FactSet
    layers: int
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, ...]:
        """Those at which anything is restored."""
        return self.study.roles or tuple(ROLES)

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Effects that are written, at most."""
        return len(self.facts.facts) * len(self.roles) * len(self.study.parts) * self.layers

    @property
    def summary(self) -> str:
        """See `Plan.summary`."""
        return f"{len(self.facts.facts)} facts"

    @property
    def parts(self) -> list[tuple[Fact, ...]]:
        """The facts of each cell."""
        size, facts = self.study.shard_size, self.facts.facts
        return [facts[start : start + size] for start in range(0, len(facts), size)]


def make_plan(study: Study, note: Note = silent) -> TracingPlan:
    """The plan of a study.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadData: if the facts are missing or wrong.
        BadStudy: if the model is no causal language model, or a group has no fact.
        UnknownName: if there is no such model.
        BadModel: if the model's configuration cannot be read.
    """
    note("reading the facts")
    facts = facts_of(study.facts, study.seed, *study.compare)
    note("reading the model's outline")
    outline = outline_model(study.model)
    refuse_other_models(study.model, outline)
    layers = len(outline.towers[0].stages[0].blocks)
    return TracingPlan(study, facts, layers, facts.files)
