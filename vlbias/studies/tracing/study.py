"""A study of causal tracing: facts, how their subject is corrupted, and what is restored where."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from vlbias.errors import UnknownName
from vlbias.runs.study import ModelStudy
from vlbias.studies.knowledge.fact_choice import FactChoice
from vlbias.studies.tracing.roles import ROLES

__all__ = ["PARTS", "Part", "Study"]

Part = Literal["resid", "attn", "mlp"]
PARTS: tuple[Part, ...] = ("resid", "attn", "mlp")


class Study(ModelStudy):
    """One run.

    Args:
        facts: Which facts.
        compare: Two groups of facts: those of interest, and ordinary ones that the map of the first is
            compared with. Empty: one map of all facts together.
        corruption: What is done to the subject: "noised", noise on the embeddings of its tokens, or
            "other-subject", another subject of as many tokens.
        noise: Standard deviation of the noise, in units of that of the embeddings of all subjects' tokens.
        draws: Draws of the noise, or other subjects, for each fact.
        parts: What is restored: the residual stream behind a block, or what a branch adds.
        window: Layers of a branch that are restored together, around the one that is named; the stream is
            always restored behind one block.
        roles: Tokens at which anything is restored; see `vlbias.studies.tracing.roles`.
        shard_size: Facts a cell.
        mediator_batch: Jobs that run as one batch.
    """

    kind: Literal["tracing"] = "tracing"
    facts: FactChoice
    compare: tuple[str, ...] = ()
    corruption: Literal["noised", "other-subject"] = "noised"
    noise: float = Field(3.0, gt=0)
    draws: int = Field(10, ge=1)
    parts: tuple[Part, ...] = PARTS
    window: int = Field(1, ge=1)
    roles: tuple[str, ...] = ()
    shard_size: int = Field(4, ge=1)
    mediator_batch: int = Field(64, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.compare) not in (0, 2):
            raise ValueError("compare: two groups of facts, or none")
        if not self.parts:
            raise ValueError("parts: one or more")
        return self

    def check(self) -> None:
        """See `StudyBase.check`."""
        self.facts.check()
        for role in self.roles:
            if role not in ROLES:
                raise UnknownName("role of a token (study field 'roles')", role, ROLES)

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study = super().relative_to(folder)
        return study.model_copy(update={"facts": self.facts.relative_to(folder)})

    def with_limit(self, limit: int) -> Self:
        """The study of so many facts of each group, under a name that tells it."""
        facts = self.facts.model_copy(update={"limit": limit})
        return self.model_copy(update={"facts": facts, "name": f"{self.name}-limit{limit}"})
