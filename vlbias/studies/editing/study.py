"""A study of lifelong editing: facts, methods, protocols, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from vlbias.errors import BadStudy
from vlbias.runs.study import Frozen, ModelStudy, plain_values
from vlbias.studies.knowledge.fact_choice import FactChoice

__all__ = ["Method", "Protocol", "Study"]

Protocol = Literal["sequence", "roll-back"]


class Method(Frozen):
    """One way of editing.

    Args:
        label: What tables call it.
        name: "rank-one" or "memit".
        options: Its settings, beside `search`; see `vlbias.edits.rank_one.RankOne` and
            `vlbias.edits.memit.Memit`.
        search: Settings of the search for a value; see `vlbias.edits.values.ValueSearch`.
    """

    label: str = Field(min_length=1)
    name: Literal["rank-one", "memit"] = "rank-one"
    options: Annotated[Mapping[str, Any], AfterValidator(plain_values)] = {}
    search: Annotated[Mapping[str, Any], AfterValidator(plain_values)] = {}


class Study(ModelStudy):
    """One run.

    Args:
        facts: Which facts; those that are edited need a target.
        edits: How many of the facts that the model knows are edited, one after another.
        probes: How many of the others are asked at checkpoints.
        protocols: "sequence": each edit stays. "roll-back": after each edit and its evaluation another edit at
            the same place writes the true answer again, as Hu et al. (2024) published.
        methods: The ways of editing that are compared.
        checkpoints: Numbers of edits after which everything is asked; powers of two if empty.
        texts: A file of texts, one a line, for the second moments of keys; the facts' own prompts if not given.
        prefixes: So many texts that may stand before a prompt, the first words of `texts`.
        utility: A file of prompts and answers, one JSON object a line, that an edit should leave alone.
    """

    kind: Literal["editing"] = "editing"
    facts: FactChoice
    edits: int = Field(32, ge=1)
    probes: int = Field(100, ge=1)
    protocols: tuple[Protocol, ...] = ("sequence",)
    methods: tuple[Method, ...]
    checkpoints: tuple[int, ...] = ()
    texts: Path | None = None
    prefixes: int = Field(4, ge=0)
    utility: Path | None = None

    @field_validator("methods", "protocols")
    @classmethod
    def _not_empty(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if not given:
            raise ValueError("one or more")
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        labels = [method.label for method in self.methods]
        if len(set(labels)) < len(labels):
            raise ValueError("methods: labels that differ")
        if any(not 1 <= point <= self.edits for point in self.checkpoints):
            raise ValueError(f"checkpoints: numbers from 1 to {self.edits}")
        return self

    @property
    def points(self) -> tuple[int, ...]:
        """The checkpoints, in order, the last edit among them."""
        powers = [2**n for n in range(self.edits.bit_length()) if 2**n <= self.edits]
        return tuple(sorted({*(self.checkpoints or powers), self.edits}))

    def check(self) -> None:
        """See `StudyBase.check`."""
        self.facts.check()

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study = super().relative_to(folder)
        paths: dict[str, Any] = {"facts": self.facts.relative_to(folder)}
        for name in ("texts", "utility"):
            path = getattr(self, name)
            if path is not None:
                paths[name] = folder.resolve() / path
                if not paths[name].is_file():
                    raise BadStudy(name, str(path), f"a file that exists (looked in {folder})")
        return study.model_copy(update=paths)

    def with_limit(self, limit: int) -> Self:
        """The study of so many edits, under a name that tells it."""
        points = tuple(point for point in self.checkpoints if point <= limit)
        changed = {"edits": limit, "checkpoints": points, "name": f"{self.name}-limit{limit}"}
        return self.model_copy(update=changed)
