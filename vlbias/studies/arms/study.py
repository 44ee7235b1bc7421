"""The keys of a study that computes potential outcomes."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator

from vlbias.causal.contrast import Contrast
from vlbias.runs.study import Frozen, ModelStudy

__all__ = ["ArmsStudy", "Racing"]


class Racing(Frozen):
    """Samples come in rounds, after which units (heads, neurons) leave that are settled; see `analysis.racing`.

    Args:
        keep: So many of the largest effects are measured on all samples.
        miss: Largest probability with which a unit that leaves would have survived all samples.
        rounds: Rounds; each but the first doubles the samples seen.
        gradients: Predict the samples to come by gradient attribution, one backward pass a sample and contrast.
    """

    keep: int = Field(10, ge=1)
    miss: float = Field(0.1, gt=0, lt=0.5)
    rounds: int = Field(4, ge=2, le=8)
    gradients: bool = True


class ArmsStudy(ModelStudy):
    """A study of contrasts between worlds, with mediators.

    Args:
        contrasts: "base->other", in the order they are run.
        unmediated: Further contrasts of which only the two worlds are run, without mediators: how
            much the outcome moves under changes that should not matter, for example.
        mediators: Sites with wildcards, "image_encoder/head.*[*]"; several joined by "+".
        outcomes: What is measured; see `vlbias list outcomes`.
        shard_size: Samples that are run together; a process holds the recorded passes of so many. More
            samples fill batches where there are few mediators. A cell holds one such shard, or of many
            as many as take about a minute; see `vlbias.runs.cell_size`.
        mediator_batch: Jobs that run as one batch.
        screen: Share of the units (heads, neurons) that are run at all, chosen by gradient attribution; all if
            not given.
        racing: Units leave once they are settled; all are run on all samples if not given.
    """

    contrasts: tuple[str, ...]
    unmediated: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    outcomes: tuple[str, ...]
    shard_size: int = Field(4, ge=1)
    mediator_batch: int = Field(64, ge=1)
    screen: float | None = Field(None, gt=0, lt=1)
    racing: Racing | None = None

    @field_validator("contrasts", "outcomes")
    @classmethod
    def _not_empty(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if not given:
            raise ValueError("one or more: without them there is nothing to run")
        return given

    @field_validator("contrasts", "unmediated")
    @classmethod
    def _distinct(cls, contrasts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        before = info.data.get("contrasts", ())
        if len({*before, *contrasts}) < len(before) + len(contrasts):
            raise ValueError("contrasts repeat")
        return contrasts

    @property
    def pairs(self) -> tuple[Contrast, ...]:
        """The contrasts, typed, those without mediators last."""
        return (*map(Contrast.parse, self.contrasts), *self.pairs_unmediated)

    @property
    def pairs_unmediated(self) -> tuple[Contrast, ...]:
        """The contrasts without mediators, typed."""
        return tuple(map(Contrast.parse, self.unmediated))

    def with_screen(self, screen: float) -> Self:
        """The study of so large a share of the units, under a name that tells it."""
        return self.model_copy(update={"screen": screen, "name": f"{self.name}-screen{screen:g}"})

    def keyed(self) -> dict[str, Any]:
        """The fields that enter the key of every cell."""
        fields = {"dtype", "contrasts", "unmediated", "mediators", "outcomes", "shard_size"}
        chosen: dict[str, Any] = {} if self.screen is None else {"screen": self.screen}
        if self.racing is not None:
            chosen["racing"] = self.racing.model_dump(mode="json")
        keyed = self.model_dump(mode="json", include=fields | {"mediator_batch", "seed"})
        return keyed | chosen
