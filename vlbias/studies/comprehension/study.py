"""A study of comprehension: items, their edits, and who is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from vlbias.data.prompts import prompt_named
from vlbias.errors import BadStudy
from vlbias.runs.study import Frozen, ModelStudy
from vlbias.studies.comprehension.parsing import refuse_parser

__all__ = ["SCENE_TASKS", "Endpoint", "Study"]

SCENE_TASKS = ("scene-objects", "scene-image-cues", "scene-text-cues")


class Endpoint(Frozen):
    """A server that speaks the OpenAI chat protocol.

    Args:
        base_url: For example "http://localhost:8000/v1".
        key_variable: Environment variable that holds the key; local servers need none.
        timeout: Seconds that one call may take.
        retries: Further calls after one that failed.
        temperature: Of the model's answers.
        max_tokens: Of an answer.
        system: A message that goes before every question.
        price_in: Price of a million tokens asked, for the estimate.
        price_out: Price of a million tokens answered.
    """

    base_url: str = Field(pattern=r"^https?://")
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = Field(60.0, gt=0)
    retries: int = Field(3, ge=0)
    temperature: float = Field(0.0, ge=0)
    max_tokens: int = Field(16, ge=1)
    system: str = ""
    price_in: float = Field(0.0, ge=0)
    price_out: float = Field(0.0, ge=0)


class Study(ModelStudy):
    """One run: one subject, one set of items.

    Args:
        task: "multiplication", "unscrambling" or "entailment", made by seed; "own", read from a file; or
            "scene-objects", "scene-image-cues" or "scene-text-cues", rendered for a vision-language model.
        prompt: Text that goes with a scene, as the model was trained; see `vlbias list prompts`.
        path: JSONL file of one's own items.
        count: Items; of one's own the first so many, all if not given.
        edit: "replace" or "mask", for items made by seed.
        variants: Edits of each arm, for items made by seed.
        answers: Whether choices are scored ("scored"), or text is written and parsed ("written").
        parser: How an answer is found in what is written; see `docs/comprehension.md`.
        endpoint: A server that has the model; without it the model is loaded here.
        mediators: Sites of a language model whose share in both arms is measured, "lm/head.*[*]@-1".
        mediated: Items for that.
        random_weights: Seed of random weights in place of the trained ones.
        shard_size: Items a cell.
        mediator_batch: Jobs that run as one batch.
    """

    kind: Literal["comprehension"] = "comprehension"
    task: Literal[
        "multiplication",
        "unscrambling",
        "entailment",
        "own",
        "scene-objects",
        "scene-image-cues",
        "scene-text-cues",
    ]
    path: Path | None = None
    count: int | None = Field(None, ge=1)
    prompt: str = "template"
    edit: Literal["replace", "mask"] = "replace"
    variants: int = Field(2, ge=1, le=2)
    answers: Literal["scored", "written"] = "scored"
    parser: str = "choice"
    endpoint: Endpoint | None = None
    mediators: tuple[str, ...] = ()
    mediated: int = Field(40, ge=1)
    random_weights: int | None = Field(None, ge=0, lt=2**63)
    shard_size: int = Field(50, ge=1)
    mediator_batch: int = Field(64, ge=1)

    def check(self) -> None:
        """See `StudyBase.check`."""
        refuse_parser(self.parser)
        if (self.task == "own") != (self.path is not None):
            raise BadStudy("path", self.path, 'a file where task = "own", and only there')
        if self.of_scenes:
            prompt_named(self.prompt)
        for field in ("endpoint", "mediators", "random_weights") if self.of_scenes else ():
            if getattr(self, field) not in (None, ()):
                raise BadStudy(field, getattr(self, field), f"none: {self.task} is asked of scenes")
        if self.endpoint is not None and self.answers == "scored":
            raise BadStudy("answers", self.answers, '"written": a server gives texts, not scores')
        if self.endpoint is not None and self.mediators:
            raise BadStudy("mediators", self.mediators, "none: a server's model cannot be opened")

    @property
    def of_scenes(self) -> bool:
        """Whether items are rendered scenes."""
        return self.task in SCENE_TASKS

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study = self if self.endpoint is not None else super().relative_to(folder)
        if self.path is None:
            return study
        return study.model_copy(update={"path": folder.resolve() / self.path})

    def with_limit(self, limit: int) -> Self:
        """The study of so many items, under a name that tells it."""
        return self.model_copy(update={"count": limit, "name": f"{self.name}-limit{limit}"})

    def keyed(self) -> dict[str, Any]:
        """The fields that determine what is asked and how answers are read."""
        fields = {"task", "prompt", "edit", "variants", "answers", "parser", "seed", "dtype"}
        return self.model_dump(mode="json", include=fields)
