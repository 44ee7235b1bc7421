"""The keys of a study of photos: which photos, labels, worlds, and how scores become positives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from vlbias.data import DATASETS
from vlbias.data.fill import Fill
from vlbias.data.gender_labels import GenderRule
from vlbias.data.world import World
from vlbias.errors import UnknownName
from vlbias.models.image_text.question import Question
from vlbias.runs.study import Frozen, ModelStudy, Split
from vlbias.studies.photos.decisions import RULE
from vlbias.studies.photos.strata import Stratum

__all__ = ["LabelSpec", "PhotoSet", "PhotoStudy", "QuestionSpec", "ThresholdRule", "WorldSpec"]


class LabelSpec(Frozen):
    """How perceived gender is read from captions; see `vlbias.data.gender_labels.GenderRule`."""

    name: str = "strict"
    words: Literal["paired", "zhao2017", "hendricks2018"] = "paired"
    min_captions: int = Field(2, ge=1)
    held_out: int = Field(1, ge=0)
    caption_with_both: Literal["mixed", "skip"] = "mixed"
    pronouns: bool = True
    adults_only: bool = False
    min_person_area: float | None = Field(None, gt=0)
    single_person: bool = False
    dominance: float | None = Field(None, gt=0)

    def rule(self) -> GenderRule:
        """The rule with these thresholds."""
        return GenderRule(**self.model_dump())


class PhotoSet(Frozen):
    """Which photos: a reader, and where its files are, relative to the study file.

    Args:
        name: See `vlbias list datasets`.
        path: Folder or table.
        groups: Gaps are the first minus the second.
        group: The annotated attribute that makes the groups, or several crossed ("gender × skin"), of data sets
            whose persons were annotated; the reader's own if empty.
        several: Photos of several persons in such data sets: kept where all are alike, only where there is one,
            or by the largest person. "nearest", for your own table: photos of several persons are
            kept for the recall of objects by the group of the person who stands nearest.
        labels: How groups are read from captions.
        limit: Only so many photos, chosen by the seed.
        images_anywhere: Whether paths of photos may leave the folder of photos: absolute, with "..", or links.
    """

    name: str = "coco"
    path: Path | None = None
    splits: tuple[Split, ...] = ("dev", "test")
    groups: tuple[str, ...] = ("masculine", "feminine")
    group: str = ""
    several: Literal["alike", "one", "largest", "nearest"] | None = None
    labels: LabelSpec = LabelSpec()
    limit: int | None = Field(None, ge=1)
    images_anywhere: bool = False

    @field_validator("groups")
    @classmethod
    def _two(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        if len(groups) < 2:
            raise ValueError("two groups or more: a gap needs two")
        return groups


class WorldSpec(Frozen):
    """What a world does to image and text; see `vlbias.data.world.World`."""

    image: Literal["mask-gender", "placebo", "background", "object"] | None = None
    text: Literal["replace-gender", "swap-gender", "placebo"] | None = None
    fill: Fill = "blur"
    strength: float = Field(1.0, ge=0, le=1)
    region: Literal["person", "person-mask", "head", "face", "own"] = "person"
    keep_objects: bool = False

    def world(self) -> World:
        """The world that makes examples."""
        return World(**self.model_dump())


class ThresholdRule(Frozen):
    """How scores become positives, and which objects have enough photos.

    Args:
        rule: "count" sets as many positives as there are objects, "fpr" a false-positive rate, "given"
            takes `thresholds`.
        value: The rate of "fpr".
        thresholds: Class to score, for "given".
        min_negatives: Images without an object that each group needs for the object to count.
        min_events: False positives to expect in each group for the object to count.
        strata: Within which photos the label test takes groups to be exchangeable: `split`, `objects`
            (classes present, up to 3), `person_area` (quarters), `agreeing_captions`; several are crossed.
    """

    rule: Literal["count", "fpr", "given"] = "fpr"
    value: float = Field(0.1, gt=0, lt=1)
    thresholds: Mapping[str, float] = {}
    min_negatives: int = Field(50, ge=1)
    min_events: float = Field(5.0, ge=0)
    strata: tuple[Stratum, ...] = ()


class QuestionSpec(Frozen):
    """How a generative model is asked for an object; see `vlbias.models.image_text.question.Question`."""

    answers: tuple[str, str] = ("yes", "no")
    order: Literal["as given", "reversed"] = "as given"
    instruction: str = "Answer {first} or {second}."
    template: Literal["chat", "plain"] = "chat"

    def question(self) -> Question:
        """The question with these settings."""
        return Question(**self.model_dump())


class PhotoStudy(ModelStudy):
    """A study of photos.

    Args:
        dataset: Which photos.
        prompt: A named prompt, or "custom:" and a template.
        question: How a generative model is asked; the standard question if not given.
        regions: Where regions other than the person boxes come from: `head` a COCO person_keypoints
            file, `person-mask` a COCO instances file, `face` a detector ("facenet", "opencv"), `own` a
            JSON file of photo ids to lists of boxes.
        objects: Classes that are asked for; all of the data set if empty.
        operating_point: How scores become positives.
        min_group: Photos that every group needs.
        keep_boxes: Found boxes a photo and arm that are kept, for average precision; 0 keeps none.
    """

    dataset: PhotoSet = PhotoSet()
    prompt: str = "template"
    question: QuestionSpec | None = None
    regions: Mapping[Literal["head", "face", "person-mask", "own"], str] = {}
    objects: tuple[str, ...] = ()
    operating_point: ThresholdRule = ThresholdRule()
    min_group: int = Field(20, ge=1)
    keep_boxes: int = Field(0, ge=0)

    def check(self) -> None:
        """See `StudyBase.check`."""
        if self.dataset.name not in DATASETS:
            raise UnknownName("dataset", self.dataset.name, DATASETS)
        if self.question is not None:
            self.question.question()

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study, folder = super().relative_to(folder), folder.resolve()
        changes: dict[str, Any] = {
            "regions": {
                n: at if n == "face" else str(folder / at) for n, at in self.regions.items()
            }
        }
        if self.dataset.path is not None:
            path = folder / self.dataset.path
            changes["dataset"] = self.dataset.model_copy(update={"path": path})
        return study.model_copy(update=changes)

    def with_limit(self, limit: int) -> Self:
        """The study of so many photos, under a name that tells it."""
        dataset = self.dataset.model_copy(update={"limit": limit})
        return self.model_copy(update={"dataset": dataset, "name": f"{self.name}-limit{limit}"})

    @property
    def decisions(self) -> Mapping[str, str]:
        """See `StudyBase.decisions`."""
        return RULE

    @property
    def worlds_needing_regions(self) -> Mapping[str, WorldSpec]:
        """Name to world, for worlds whose region the study has to give."""
        return {}

    def keyed_photos(self) -> dict[str, Any]:
        """The fields of photos that enter the key of every cell."""
        fields = {"prompt", "regions", "objects"}
        # runs without boxes or questions keep the keys they had before there were any
        fields |= {name for name in ("keep_boxes", "question") if getattr(self, name)}
        return self.model_dump(mode="json", include=fields)
