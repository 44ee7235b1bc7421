"""A study of unlearning: facts to forget and to retain, ways of training, and when each stops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from vlbias.edits.loss_names import Loss
from vlbias.errors import BadStudy
from vlbias.runs.study import Frozen, ModelStudy, plain_values
from vlbias.studies.knowledge.fact_choice import FactChoice
from vlbias.studies.knowledge.trace_settings import TraceSettings

__all__ = ["Method", "Study", "Trace"]


class Trace(TraceSettings):
    """How the model is traced before anything is trained.

    Args:
        facts: How many of the facts to forget, and how many of those to retain, in their order.
    """

    facts: int = Field(20, ge=2)


class Method(Frozen):
    """One way of forgetting.

    Args:
        label: What tables call it.
        sites: Blocks that are trained; everything else is frozen.
        loss: What is minimised; see `vlbias.edits.losses`.
        options: Further settings; see `vlbias.edits.training.BlockTraining`.
    """

    label: str = Field(min_length=1)
    sites: tuple[str, ...] = Field(min_length=1)
    loss: Loss = "joint"
    options: Annotated[Mapping[str, Any], AfterValidator(plain_values)] = {}


class Study(ModelStudy):
    """One run.

    Args:
        facts: Which facts; their groups tell what becomes of them.
        forget: Group of the facts to forget.
        retain: Group of those to retain.
        holdout: Group of facts that the model was never trained on, for membership; none if empty.
        gold: A model that never saw the facts to forget; none if empty.
        methods: The ways of forgetting that are compared.
        level: Training stops once so small a share of the facts to forget is still answered, so that methods
            are compared at matched forgetting; 0 trains for all steps.
        seeds: Of training; each is one run of every method.
        relearn: Steps of training on half of the forgotten subjects, after which the other half is asked.
        utility: A file of prompts and answers, one JSON object a line, that should stay.
        trace: Where facts to forget are read otherwise than those to retain, before training; not asked if
            not given.
        longest: Tokens that a model writes where facts belong to a task of LUME, at most.
    """

    kind: Literal["unlearning"] = "unlearning"
    facts: FactChoice
    forget: str = "forget"
    retain: str = "retain"
    holdout: str = ""
    gold: str = ""
    methods: tuple[Method, ...] = Field(min_length=1)
    level: float = Field(0.1, ge=0, lt=1)
    seeds: tuple[int, ...] = (0,)
    relearn: int = Field(40, ge=0)
    utility: Path | None = None
    trace: Trace | None = None
    longest: int = Field(256, ge=1)

    @field_validator("seeds")
    @classmethod
    def _counted(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if not given or any(seed < 0 for seed in given):
            raise ValueError("one or more, 0 or above")
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        labels = [method.label for method in self.methods]
        if len(set(labels)) < len(labels) or {"before", "gold"} & set(labels):
            raise ValueError("methods: labels that differ, and neither 'before' nor 'gold'")
        groups = [self.forget, self.retain, *([self.holdout] if self.holdout else [])]
        if len(set(groups)) < len(groups):
            raise ValueError("forget, retain and holdout: groups that differ")
        if any(method.loss == "hinge" for method in self.methods) and not self.holdout:
            raise ValueError(
                "holdout: a group of facts never trained on, which sets the bound of 'hinge'"
            )
        return self

    def check(self) -> None:
        """See `StudyBase.check`."""
        self.facts.check()
        if self.trace is not None:
            self.trace.check_roles()

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study = super().relative_to(folder)
        changed: dict[str, Any] = {"facts": self.facts.relative_to(folder)}
        if self.gold and (folder.resolve() / self.gold).is_dir():
            changed["gold"] = str(folder.resolve() / self.gold)
        if self.utility is not None:
            changed["utility"] = folder.resolve() / self.utility
            if not changed["utility"].is_file():
                raise BadStudy(
                    "utility", str(self.utility), f"a file that exists (looked in {folder})"
                )
        return study.model_copy(update=changed)
