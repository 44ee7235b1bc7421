"""What a study says of causal tracing: how subjects are corrupted, and what is restored where."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vlbias.errors import UnknownName
from vlbias.runs.study import Frozen
from vlbias.studies.knowledge.token_roles import ROLES

__all__ = ["PARTS", "Part", "TraceSettings"]

Part = Literal["resid", "attn", "mlp"]
PARTS: tuple[Part, ...] = ("resid", "attn", "mlp")


class TraceSettings(Frozen):
    """How facts are traced.

    Args:
        corruption: What is done to the subject: "noised", noise on the embeddings of its tokens, or
            "other-subject", another subject of as many tokens.
        noise: Standard deviation of the noise, in units of that of the embeddings of all subjects' tokens.
        draws: Draws of the noise, or other subjects, for each fact.
        parts: What is restored: the residual stream behind a block, or what a branch adds.
        window: Layers of a branch that are restored together, around the one that is named; the stream is
            always restored behind one block.
        roles: Tokens at which anything is restored; see `vlbias.studies.knowledge.token_roles`; all if empty.
        mediator_batch: Jobs that run as one batch.
    """

    corruption: Literal["noised", "other-subject"] = "noised"
    noise: float = Field(3.0, gt=0)
    draws: int = Field(10, ge=1)
    parts: tuple[Part, ...] = Field(PARTS, min_length=1)
    window: int = Field(1, ge=1)
    roles: tuple[str, ...] = ()
    mediator_batch: int = Field(64, ge=1)

    def check_roles(self) -> None:
        """Refuse a role that no token has.

        Raises:
            UnknownName: with suggestions.
        """
        for role in self.roles:
            if role not in ROLES:
                raise UnknownName("role of a token (study field 'roles')", role, ROLES)
