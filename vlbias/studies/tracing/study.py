"""A study of causal tracing: facts, how their subject is corrupted, and what is restored where."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from vlbias.runs.study import ModelStudy
from vlbias.studies.knowledge.fact_choice import FactChoice
from vlbias.studies.knowledge.trace_settings import TraceSettings

__all__ = ["Study"]


class Study(ModelStudy, TraceSettings):
    """One run; how facts are traced are the keys of `TraceSettings`.

    Args:
        facts: Which facts.
        compare: Two groups of facts: those of interest, and ordinary ones that the map of the first is
            compared with. Empty: one map of all facts together.
        shard_size: Facts a cell.
    """

    kind: Literal["tracing"] = "tracing"
    facts: FactChoice
    compare: tuple[str, ...] = ()
    shard_size: int = Field(4, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.compare) not in (0, 2):
            raise ValueError("compare: two groups of facts, or none")
        return self

    def check(self) -> None:
        """See `StudyBase.check`."""
        self.facts.check()
        self.check_roles()

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study = super().relative_to(folder)
        return study.model_copy(update={"facts": self.facts.relative_to(folder)})

    def with_limit(self, limit: int) -> Self:
        """The study of so many facts of each group, under a name that tells it."""
        facts = self.facts.model_copy(update={"limit": limit})
        return self.model_copy(update={"facts": facts, "name": f"{self.name}-limit{limit}"})
