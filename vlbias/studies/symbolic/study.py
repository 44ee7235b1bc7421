"""A study of symbolic mechanisms: the identity-rule task, and the heads that solve it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator

from vlbias.runs.study import ModelStudy
from vlbias.studies.symbolic.prompts import Format

__all__ = ["Study"]


class Study(ModelStudy):
    """One run: a causal language model and one form of the task.

    Args:
        shots: Examples of a prompt.
        pairs: Solved pairs for each base rule.
        separator: Between items; one token of the model.
        newline: Behind an example; one token.
        items: What items are drawn from: single tokens of letters without a space before them ("all"), those
            that are one letter, that are English nouns ("words"), or that hold no vowel ("nonsense").
        lures: Let the first example hold the query's items, swapped.
        solved: When a prompt counts as solved: the most probable next token is the answer ("argmax"), or the
            greedy text up to the newline is ("generation").
        max_draws: Pairs that are drawn at most for each that is wanted.
        map_pairs: Pairs of each kind for the map of layers and positions; 0 leaves it out.
        floor: Least share of the logit gap that a head must move to be called found.
        accuracy_shots: Numbers of examples for which accuracy is measured.
        accuracy_prompts: Prompts for each of these and each rule.
        probe_prompts: Prompts a rule for attention, similarity and decoding; 0 leaves them out.
        probe_shots: Further numbers of examples on which the decoder is tried.
        ablation: Numbers of heads that are ablated together; empty leaves it out.
        ablation_prompts: Fresh solved prompts for each rule.
        ablation_draws: Random sets of heads beside each.
        random_weights: Seed of random weights in place of the trained ones.
        shard_size: Pairs a cell.
        mediator_batch: Jobs that run as one batch.
    """

    kind: Literal["symbolic"] = "symbolic"
    shots: int = Field(4, ge=2)
    pairs: int = Field(20, ge=1)
    separator: str = Field("^", min_length=1)
    newline: str = Field("\n", min_length=1)
    items: Literal["all", "letters", "words", "nonsense"] = "all"
    lures: bool = False
    solved: Literal["argmax", "generation"] = "argmax"
    max_draws: int = Field(100, ge=1)
    map_pairs: int = Field(4, ge=0)
    floor: float = Field(0.05, ge=0, lt=1)
    accuracy_shots: tuple[int, ...] = (1, 2, 4, 6, 10)
    accuracy_prompts: int = Field(40, ge=1)
    probe_prompts: int = Field(60, ge=0)
    probe_shots: tuple[int, ...] = ()
    ablation: tuple[int, ...] = (1, 2, 4, 8)
    ablation_prompts: int = Field(20, ge=1)
    ablation_draws: int = Field(10, ge=1)
    random_weights: int | None = Field(None, ge=0, lt=2**63)
    shard_size: int = Field(5, ge=1)
    mediator_batch: int = Field(64, ge=1)

    @field_validator("accuracy_shots", "probe_shots", "ablation")
    @classmethod
    def _counts(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if any(number < 1 for number in given):
            raise ValueError("numbers of 1 or more")
        return given

    def with_limit(self, limit: int) -> Self:
        """The study of so many pairs for each base rule, under a name that tells it."""
        return self.model_copy(update={"pairs": limit, "name": f"{self.name}-limit{limit}"})

    @property
    def format(self) -> Format:
        """The layout of the prompts."""
        return Format(self.shots, self.separator, self.newline)
