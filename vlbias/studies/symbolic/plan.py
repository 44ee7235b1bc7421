"""The checked plan of a study of symbolic mechanisms: its cells, known before any prompt is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy
from vlbias.models import outline_model
from vlbias.runs.events import Note, silent
from vlbias.runs.interfaces import Plan
from vlbias.studies.symbolic.head_types import RULES
from vlbias.studies.symbolic.prompts import Format
from vlbias.studies.symbolic.study import Study

__all__ = ["Part", "SymbolicPlan", "make_plan", "refuse_model"]

_KINDS = (("abstract", "both"), *(("token", rule) for rule in RULES))
"""Kind of pairs and rule; both directions of an abstract pair are of one base rule each."""


@dataclass(frozen=True)
class Part:
    """What one cell computes.

    Args:
        step: "accuracy", "scores", "map" or "probe".
        kind: Of the pairs, "abstract" or "token"; empty for steps without pairs.
        rule: Of the prompts; "both" where pairs hold both.
        number: Of the cell among those alike.
        count: Pairs or prompts.
        shots: Examples of a prompt.
    """

    step: str
    kind: str
    rule: str
    number: int
    count: int
    shots: int

    def __len__(self) -> int:
        return self.count

    @property
    def name(self) -> str:
        """Unique in a study."""
        return "-".join(map(str, (self.step, self.kind, self.rule, self.shots, self.number)))


@dataclass(frozen=True)
class SymbolicPlan(Plan):
    """A checked study of symbolic mechanisms.

    Args:
        study: The study.
        parts: In the order in which they are run.
        rows: Scores that will be written.
    """

    study: Study
    parts: tuple[Part, ...]
    rows: int

    @property
    def funnel(self) -> str:
        """See `Plan.funnel`."""
        study = self.study
        return (
            f"solved pairs             {study.pairs} abstract ones, {study.pairs} token ones of each rule\n"
            f"prompts                  {study.shots} shots, {study.format.tokens} tokens\n"
            f"solved by                {study.solved}, at most {study.max_draws} draws a pair"
        )

    @property
    def device(self) -> str:
        """See `Plan.device`."""
        return self.study.device

    @property
    def n_parts(self) -> int:
        """See `Plan.n_parts`."""
        return len(self.parts)


def make_plan(study: Study, note: Note = silent) -> SymbolicPlan:
    """The plan of a study.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadStudy: if the model is no causal language model, or a prompt is longer than it takes.
        UnknownName: if there is no such model.
        BadModel: if the model's configuration cannot be read.
    """
    note("reading the model's outline")
    outline = outline_model(study.model)
    refuse_model(study.model, outline)
    _refuse_long_prompts(study, outline)
    heads = next(port for port in outline.ports if port.name == "head")
    units = (heads.layers or 1) * int(heads.units_at(0) or 1)
    return SymbolicPlan(study, tuple(_parts(study)), 3 * study.pairs * 4 * units)


def refuse_model(model: str, outline: StagedModel) -> None:
    """Nothing, if a model gives the next token of a text.

    Raises:
        BadStudy: otherwise.
    """
    layout = getattr(outline, "layout", None)
    if any(t.channels != ("text",) for t in outline.towers) or layout is None or layout.masked:
        raise BadStudy("model", model, "a causal language model, which gives the next token")


def _refuse_long_prompts(study: Study, outline: Any) -> None:
    shots = {"shots": (study.shots,), "accuracy_shots": study.accuracy_shots}
    if study.probe_prompts:
        shots["probe_shots"] = study.probe_shots
    for field, counts in shots.items():
        tokens = Format(max(counts, default=1)).tokens
        if tokens > outline.max_tokens:
            most = (outline.max_tokens - 4) // 6
            raise BadStudy(
                field,
                max(counts),
                f"{most} or fewer: so many examples are {tokens} tokens, {outline.name} takes "
                f"{outline.max_tokens}",
            )


def _parts(study: Study) -> Iterator[Part]:
    for shots in study.accuracy_shots:
        for rule in RULES:
            yield Part("accuracy", "", rule, 0, study.accuracy_prompts, shots)
    for kind, rule in _KINDS:
        for number, start in enumerate(range(0, study.pairs, study.shard_size)):
            count = min(study.shard_size, study.pairs - start)
            yield Part("scores", kind, rule, number, count, study.shots)
    for kind, rule in _KINDS if study.map_pairs else ():
        yield Part("map", kind, rule, 0, study.map_pairs, study.shots)
    if study.probe_prompts:
        yield Part("probe", "", "both", 0, 2 * study.probe_prompts, study.shots)
