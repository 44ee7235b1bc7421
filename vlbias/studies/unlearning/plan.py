"""The checked plan of a study of unlearning: its sets of facts, and one cell a condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vlbias.data.fact_files import FactSet
from vlbias.data.facts import Fact
from vlbias.data.text_files import files_read
from vlbias.edits.methods import training_of
from vlbias.edits.weights import weight_blocks
from vlbias.errors import BadData, BadStudy
from vlbias.models import outline_model
from vlbias.runs.events import Note, silent
from vlbias.studies.knowledge.fact_choice import facts_of
from vlbias.studies.knowledge.fact_plan import FactPlan
from vlbias.studies.knowledge.known import refuse_other_models
from vlbias.studies.knowledge.utility import Items, utility_of
from vlbias.studies.unlearning.study import Method, Study

__all__ = ["Condition", "UnlearningPlan", "make_plan"]


@dataclass(frozen=True)
class Condition:
    """What one cell computes: one model, evaluated.

    Args:
        label: Of the method; "before" for the model as it is, "gold" for the one that never saw the facts.
        method: How it is trained; None for these two.
        seed: Of the training.
        facts: How many are asked.
    """

    label: str
    method: Method | None
    seed: int
    facts: int

    def __len__(self) -> int:
        return self.facts


@dataclass(frozen=True)
class UnlearningPlan(FactPlan):
    """A checked study of unlearning.

    Args:
        study: The study.
        facts: All of the groups.
        utility: Prompts and answers that should stay.
        files: See `Plan.files`.
    """

    study: Study
    facts: FactSet
    utility: Items
    files: Mapping[str, str] = field(default_factory=dict)

    def group(self, name: str) -> list[Fact]:
        """The facts of a group; none of no name."""
        return [fact for fact in self.facts.facts if name and fact.group == name]

    @property
    def parts(self) -> list[Condition]:
        """The model as it is, gold, and every method with every seed."""
        study, count = self.study, len(self.facts.facts)
        fixed = ["before", *(["gold"] if study.gold else [])]
        return [
            *(Condition(label, None, 0, count) for label in fixed),
            *(Condition(m.label, m, seed, count) for m in study.methods for seed in study.seeds),
        ]

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Facts that are asked, over all conditions."""
        return len(self.parts) * len(self.facts.facts)

    @property
    def summary(self) -> str:
        """See `Plan.summary`."""
        return f"{len(self.parts)} conditions"


def make_plan(study: Study, note: Note = silent) -> UnlearningPlan:
    """The plan of a study.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadData: if facts or utility are missing or wrong, or a fact is to be forgotten and to be retained.
        BadStudy: if the model is no causal language model, a group has no fact, or a method has no such
            setting or site.
        UnknownName: if there is no such model or site.
        BadModel: if a model's configuration cannot be read.
    """
    note("reading the facts")
    groups = [study.forget, study.retain, *([study.holdout] if study.holdout else [])]
    choice = study.facts.model_copy(update={"groups": study.facts.groups or tuple(groups)})
    facts = facts_of(choice, study.seed, *groups)
    with files_read() as found:
        utility = utility_of(study.utility, study.facts.name)
    files = {**facts.files, **({"utility": found[study.utility]} if study.utility else {})}
    plan = UnlearningPlan(study, facts, utility, files)
    _refuse_same(plan)
    note("reading the model's outline")
    for name in (study.model, *([study.gold] if study.gold else [])):
        refuse_other_models(name, outline_model(name))
    outline = outline_model(study.model)
    for number, method in enumerate(study.methods):
        try:
            training_of(method.sites, method.loss, method.options, bound=1.0)
            weight_blocks(outline, method.sites)
        except BadStudy as error:
            place = f"methods.{number}.{error.field}"
            raise BadStudy(place, error.given, error.expected) from error
    return plan


def _refuse_same(plan: UnlearningPlan) -> None:
    """Refuse facts that are to be forgotten and to be retained, by their ids: those that share a prompt."""
    study = plan.study
    retained = {text: fact.id for fact in plan.group(study.retain) for text in fact.prompts}
    both = [
        f"{fact.id} and {retained[text]}"
        for fact in plan.group(study.forget)
        for text in fact.prompts
        if text in retained
    ]
    if both:
        raise BadData(
            f"{len(both)} prompts are to be forgotten and to be retained: those of {', '.join(both[:10])}"
            f"{' …' if len(both) > 10 else ''}; take each into one group"
        )
