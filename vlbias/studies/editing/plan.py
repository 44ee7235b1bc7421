"""The checked plan of a study of editing: one cell a method and protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vlbias.data.fact_files import FactSet
from vlbias.data.text_files import files_read, lines_of
from vlbias.edits.methods import method_of
from vlbias.errors import BadData, BadStudy
from vlbias.models import outline_model
from vlbias.runs.events import Note, silent
from vlbias.studies.editing.study import Method, Protocol, Study
from vlbias.studies.knowledge.fact_choice import facts_of
from vlbias.studies.knowledge.fact_plan import FactPlan
from vlbias.studies.knowledge.known import refuse_other_models
from vlbias.studies.knowledge.utility import Items, utility_of

__all__ = ["EditSequence", "EditingPlan", "make_plan"]


@dataclass(frozen=True)
class EditSequence:
    """What one cell computes: edits of one method, one after another.

    Args:
        method: The way of editing.
        protocol: What happens after each.
        edits: How many.
    """

    method: Method
    protocol: Protocol
    edits: int

    def __len__(self) -> int:
        return self.edits


@dataclass(frozen=True)
class EditingPlan(FactPlan):
    """A checked study of editing.

    Args:
        study: The study.
        facts: All of the chosen groups.
        texts: For second moments and prefixes.
        utility: Prompts and answers that an edit should leave alone.
        files: See `Plan.files`.
    """

    study: Study
    facts: FactSet
    texts: tuple[str, ...]
    utility: Items
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> list[EditSequence]:
        """One for each method and protocol."""
        study = self.study
        return [
            EditSequence(method, protocol, study.edits)
            for protocol in study.protocols
            for method in study.methods
        ]

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Edits and checkpoints that are written."""
        return len(self.parts) * (self.study.edits + len(self.study.points))

    @property
    def summary(self) -> str:
        """See `Plan.summary`."""
        return f"{len(self.parts)} sequences of {self.study.edits} edits"


def make_plan(study: Study, note: Note = silent) -> EditingPlan:
    """The plan of a study.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadData: if facts, texts or utility are missing or wrong, or too few facts have a target.
        BadStudy: if the model is no causal language model, or a method has no such setting or site.
        UnknownName: if there is no such model or site.
        BadModel: if the model's configuration cannot be read.
    """
    note("reading the facts")
    facts = facts_of(study.facts, study.seed)
    with files_read() as found:
        texts = tuple(lines_of(study.texts)) if study.texts else _prompts(facts)
        utility = utility_of(study.utility, study.facts.name)
    _refuse_few(study, facts)
    note("reading the model's outline")
    outline = outline_model(study.model)
    refuse_other_models(study.model, outline)
    for number, method in enumerate(study.methods):
        try:
            method_of(method.name, method.options, method.search).maps(outline)
        except BadStudy as error:
            field_ = f"methods.{number}.options.{error.field}"
            raise BadStudy(field_, error.given, error.expected) from error
    names = {study.texts: "texts", study.utility: "utility"}
    files = {**facts.files, **{names[path]: digest for path, digest in found.items()}}
    return EditingPlan(study, facts, texts, utility, files)


def _prompts(facts: FactSet) -> tuple[str, ...]:
    """The facts' prompts with their answers: what there is without a file of texts."""
    return tuple(f"{text} {fact.answer}" for fact in facts.facts for text in fact.prompts)


def _refuse_few(study: Study, facts: FactSet) -> None:
    without = [fact.id for fact in facts.facts if not fact.target]
    if without:
        raise BadData(
            f"{len(without)} facts have no target, the answer that an edit writes: {', '.join(without[:10])}"
        )
    if len(facts.facts) <= study.edits:
        raise BadStudy(
            "edits",
            study.edits,
            f"fewer than the {len(facts.facts)} facts: others are needed that are never edited",
        )
