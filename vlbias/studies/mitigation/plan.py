"""Check a study of mitigations against its photos and its model, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.data.gender_labels import funnel_in_lines
from vlbias.data.table import Dataset
from vlbias.data.world import World
from vlbias.models import outline_model
from vlbias.runs.events import Note, silent
from vlbias.runs.interfaces import Plan
from vlbias.studies.arms.plan import refuse_outcomes, targets_of
from vlbias.studies.mitigation.conditions import Condition, conditions_of
from vlbias.studies.mitigation.results import RANKS
from vlbias.studies.mitigation.retrieval_texts import ComparisonTexts, comparison_texts
from vlbias.studies.mitigation.settings import Setting, settings_of
from vlbias.studies.mitigation.splits import by_split, refuse_lacking_groups, refuse_same_photo
from vlbias.studies.mitigation.study import Study
from vlbias.studies.photos.asked_model import refuse_question
from vlbias.studies.photos.plan import (
    Photos,
    hash_every_file,
    read_dataset,
    read_photos,
    refuse_boxes,
    refuse_prompt,
    refuse_small_groups,
)
from vlbias.studies.photos.study_regions import carrying_regions

__all__ = ["OUTCOMES", "MitigationPlan", "make_plan", "plan_of"]

OUTCOMES = ("presence",)
"""What is asked of every model; what else is scored follows from the model."""


@dataclass(frozen=True)
class MitigationPlan(Plan):
    """A checked study of mitigations.

    Args:
        study: The study.
        photos: Of all splits, in the null world.
        settings: What is fitted.
        asked: Split to the texts that its photos are compared with beside the class prompts.
        rows: Of the long table, at most.
    """

    study: Study
    photos: Photos
    settings: tuple[Setting, ...]
    asked: Mapping[str, ComparisonTexts]
    rows: int = 0

    @property
    def files(self) -> Mapping[str, str]:  # type: ignore[override]
        """See `Plan.files`."""
        return self.photos.files

    @property
    def funnel(self) -> str:
        """See `Plan.funnel`."""
        return funnel_in_lines(self.photos.dataset.meta["funnel"])

    @property
    def summary(self) -> str:
        """See `Plan.summary`."""
        return f"{len(self.examples)} photos, every one of which opens"

    @property
    def device(self) -> str:
        """See `Plan.device`."""
        return self.study.device

    @property
    def dataset(self) -> Dataset:
        """The photos with their labels, restricted to the study's classes."""
        return self.photos.dataset

    @property
    def examples(self) -> tuple[Example, ...]:
        """The photos of all splits."""
        return self.photos.examples

    @property
    def targets(self) -> list[str]:
        """Names of what is scored on every photo."""
        return targets_of(OUTCOMES, self.dataset.classes)

    @cached_property
    def split(self) -> Mapping[str, tuple[Example, ...]]:
        """The photos of every split."""
        return by_split(self.examples)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The model as it is first, then every fit at every strength."""
        return tuple(conditions_of(self.settings))

    def counted(self) -> MitigationPlan:
        """The plan with the largest number of rows that it can fill."""
        a_condition = sum(
            len(self.split[split]) * (len(self.targets) + len(RANKS) + len(asked.queries or ()))
            for split, asked in self.asked.items()
        )
        return replace(self, rows=a_condition * len(self.conditions))


def make_plan(study: Study, note: Note = silent) -> MitigationPlan:
    """The plan of a study of mitigations.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadStudy: names the field that cannot be.
        UnknownName: for a method, a setting, or whatever a study names that does not exist.
        BadData: if photos are missing, too few, or in more than one split; names the ids.
        BadModel: if the model's configuration or weights are missing.
    """
    settings = settings_of(study.mitigation)
    note("reading the data set")
    photos = read_photos(study, read_dataset(study), {"null": World()}, note)
    refuse_small_groups(study, photos.examples)
    note("reading the model's outline")
    outline = outline_model(study.model)
    refuse_prompt(study.prompt, OUTCOMES, outline)
    refuse_question(study, outline)
    refuse_boxes(study.keep_boxes, outline)
    refuse_outcomes(OUTCOMES, outline)
    photos = replace(photos, files=hash_every_file(study, photos, note))
    if any("regions" in setting.make().needs for setting in settings):
        note("placing regions and their placebos")
        carrying = carrying_regions(photos.examples, photos.regions, seed=study.seed)
        photos = replace(photos, examples=tuple(carrying))
    note("looking for photos in two splits")
    return plan_of(study, photos, settings, outline)


def plan_of(
    study: Study, photos: Photos, settings: tuple[Setting, ...], outline: StagedModel
) -> MitigationPlan:
    """The plan of photos that were read already; the same checks of the splits.

    Args:
        study: The study.
        photos: In the null world, of all splits.
        settings: From `settings_of`.
        outline: The model, weights or none.

    Raises:
        BadData: if a photo is in more than one split, or a split lacks a group.
    """
    refuse_same_photo(photos.examples)
    split = by_split(photos.examples)
    refuse_lacking_groups(split, study.dataset.groups)
    asked: dict[str, ComparisonTexts] = {
        name: comparison_texts(study, photos.dataset, split[name], outline)
        for name in (study.mitigation.choose, study.mitigation.report)
    }
    return MitigationPlan(study, photos, settings, asked).counted()
