"""A study of comprehension: items, their edits, and who is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from vlbias.data import DATASETS
from vlbias.data.fill import Fill
from vlbias.data.prompts import prompt_named
from vlbias.errors import BadStudy, UnknownName
from vlbias.runs.study import Frozen, ModelStudy
from vlbias.studies.comprehension.parsing import refuse_parser
from vlbias.studies.comprehension.surfaces import Surface
from vlbias.studies.photos.study import PhotoSet

__all__ = ["PHOTO_TASKS", "SCENE_TASKS", "Endpoint", "Study"]

SCENE_TASKS = ("scene-objects", "scene-image-cues", "scene-text-cues")
PHOTO_TASKS = ("photo-objects", "photo-image-cues", "photo-text-cues")


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
        task: "multiplication", "unscrambling" or "entailment", made by seed; "own", read from a file; for a
            vision-language model "scene-objects", "scene-image-cues" or "scene-text-cues", rendered, or the
            same of photos, "photo-objects", "photo-image-cues" or "photo-text-cues".
        prompt: Text that goes with an image, as the model was trained; see `vlbias list prompts`.
        surfaces: Kinds of surface edits of images: "background", "colour", "position", "crop", "blur"; if
            none is given, "background", for cues of scenes "colour".
        dataset: Photos.
        fill: What is painted over what a deep edit takes out of a photo.
        path: JSONL file of one's own items.
        count: Items; of one's own the first so many, of photos so many by chance, all if not given.
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
        "photo-objects",
        "photo-image-cues",
        "photo-text-cues",
    ]
    path: Path | None = None
    count: int | None = Field(None, ge=1)
    prompt: str = "template"
    surfaces: tuple[Surface, ...] = ()
    dataset: PhotoSet | None = None
    fill: Fill = "mean"
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
        self._check_images()
        if self.endpoint is not None and self.answers == "scored":
            raise BadStudy("answers", self.answers, '"written": a server gives texts, not scores')
        if self.endpoint is not None and self.mediators:
            raise BadStudy("mediators", self.mediators, "none: a server's model cannot be opened")

    def _check_images(self) -> None:
        if self.of_images and "{caption}" in prompt_named(self.prompt).template:
            raise BadStudy("prompt", self.prompt, "one without {caption}: an edited image has none")
        for field in ("endpoint", "mediators", "random_weights") if self.of_images else ():
            if getattr(self, field) not in (None, ()):
                raise BadStudy(field, getattr(self, field), f"none: {self.task} is asked of images")
        if self.surfaces and (not self.of_images or self.task.endswith("text-cues")):
            raise BadStudy("surfaces", self.surfaces, f"none: {self.task} edits no image")
        if (self.task in PHOTO_TASKS) != (self.dataset is not None):
            raise BadStudy(
                "dataset", self.dataset, "photos where the task is of photos, and only there"
            )
        if self.dataset is None:
            return
        if self.dataset.name not in DATASETS:
            raise UnknownName("dataset", self.dataset.name, DATASETS)
        if self.dataset.path is None:
            raise BadStudy(
                "dataset.path", None, "the folder of the photos, relative to the study file"
            )
        if self.dataset.limit is not None:
            raise BadStudy("dataset.limit", self.dataset.limit, "none: `count` says how many items")

    @property
    def of_images(self) -> bool:
        """Whether items are rendered scenes or photos."""
        return self.task in (*SCENE_TASKS, *PHOTO_TASKS)

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study = self if self.endpoint is not None else super().relative_to(folder)
        changes: dict[str, Any] = {}
        if self.path is not None:
            changes["path"] = folder.resolve() / self.path
        if self.dataset is not None and self.dataset.path is not None:
            path = folder.resolve() / self.dataset.path
            changes["dataset"] = self.dataset.model_copy(update={"path": path})
        return study.model_copy(update=changes)

    def with_limit(self, limit: int) -> Self:
        """The study of so many items, under a name that tells it."""
        return self.model_copy(update={"count": limit, "name": f"{self.name}-limit{limit}"})

    def keyed(self) -> dict[str, Any]:
        """The fields that determine what is asked and how answers are read."""
        fields = {"task", "prompt", "edit", "variants", "answers", "parser", "seed", "dtype"}
        if self.of_images:
            fields |= {"surfaces", "fill"}
        return self.model_dump(mode="json", include=fields)
