"""The key of a study that says which facts, and the facts that it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from vlbias.data.fact_files import FACTS, FactSet, read_facts
from vlbias.errors import BadStudy, UnknownName
from vlbias.runs.study import Frozen

__all__ = ["FactChoice", "facts_of"]


class FactChoice(Frozen):
    """Which facts.

    Args:
        name: One of those that come with the package; see `vlbias.data.fact_files.FACTS`.
        path: A file of facts in place of a name.
        groups: Those of these groups only; all if empty.
        limit: Only so many of each group, chosen by the study's seed.
    """

    name: str = ""
    path: Path | None = None
    groups: tuple[str, ...] = ()
    limit: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.name) == (self.path is not None):
            raise ValueError("either a name or a path")
        return self

    def check(self) -> None:
        """Refuse a name that nothing has.

        Raises:
            UnknownName: with suggestions.
        """
        if self.name and self.name not in FACTS:
            raise UnknownName("set of facts", self.name, FACTS)

    def relative_to(self, folder: Path) -> Self:
        """The same with an absolute path."""
        if self.path is None:
            return self
        return self.model_copy(update={"path": folder.resolve() / self.path})


def facts_of(choice: FactChoice, seed: int, *needed: str) -> FactSet:
    """The facts that a study means.

    Args:
        choice: Which.
        seed: By which they are chosen, where there are more than asked for.
        *needed: Further groups that the study compares.

    Raises:
        BadData: if the file is missing or wrong.
        BadStudy: if no fact is left, or a group has none; names those there are.
    """
    every = read_facts(choice.name, choice.path)
    there = {fact.group for fact in every.facts}
    asked: tuple[Any, ...] = (*choice.groups, *needed)
    for group in asked:
        if group not in there:
            raise BadStudy("facts.groups", group, f"one of {', '.join(map(repr, sorted(there)))}")
    return every.chosen(choice.groups, choice.limit, seed)
