"""Check a study of mitigations against its photos and its model, before any weight is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vlbias.causal.example import Example
from vlbias.causal.staged import StagedModel, Tower
from vlbias.data.prompts import prompt_named, set_word
from vlbias.data.table import Dataset
from vlbias.errors import BadData, BadStudy
from vlbias.models import outline_model
from vlbias.studies.arms.plan import Plan, make_plan
from vlbias.studies.mitigation.conditions import Condition, Part, conditions_of, refuse_same_photo
from vlbias.studies.mitigation.study import MitigationStudy, Setting
from vlbias.studies.mitigation.work.passes import Asked, is_dual
from vlbias.studies.mitigation.work.scope import changes_tokens
from vlbias.studies.photos.study_regions import carrying_regions

__all__ = ["MitigationPlan", "make_mitigation_plan", "mapped_point", "plan_of"]


@dataclass(frozen=True)
class MitigationPlan:
    """A checked study of mitigations.

    Args:
        plan: Its photos, of all splits, in the null world.
        study: The study.
        settings: What is fitted.
        asked: Split to the texts that its photos are compared with beside the class prompts.
    """

    plan: Plan
    study: MitigationStudy
    settings: tuple[Setting, ...]
    asked: Mapping[str, Asked]

    @property
    def funnel(self) -> str:
        """How many photos were left after each step of the label rule, as lines."""
        return self.plan.funnel

    @cached_property
    def split(self) -> Mapping[str, tuple[Example, ...]]:
        """The photos of every split."""
        by: dict[str, list[Example]] = {"fit": [], "dev": [], "test": []}
        for example in self.plan.examples:
            by[example.attributes["split"]].append(example)
        return {name: tuple(examples) for name, examples in by.items()}

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The model as it is first, then every fit at every strength."""
        return tuple(conditions_of(self.settings))

    def parts(self, model: StagedModel) -> list[Part]:
        """The cells of a model, in order; maps where a setting can change tokens of photos."""
        protocol = self.study.mitigation
        mapped = protocol.maps and mapped_point(model) is not None
        strongest = {
            setting.label: max(setting.strengths)
            for setting in self.settings
            if mapped and changes_tokens(setting, model)
        }
        return [
            Part(condition, split, "scores", self.split[split])
            for condition in self.conditions
            for split in (protocol.choose, protocol.report)
        ] + [
            Part(condition, protocol.report, "map", self.split[protocol.report])
            for condition in self.conditions
            if condition.fit is not None
            and condition.fit.draw <= 1
            and condition.strength == strongest.get(condition.fit.setting)
        ]


def mapped_point(model: StagedModel) -> tuple[Tower, str] | None:
    """The tower that reads photos, and the last block of its image encoder, whose tokens are mapped.

    None where the model names no blocks of an image encoder.
    """
    stage = "image_encoder"
    for port in model.ports:
        if (port.stage, port.name) == (stage, "resid") and port.layers:
            tower = next(t for t in model.towers if stage in {s.name for s in t.stages})
            return tower, port.path(port.layers - 1)
    return None


def make_mitigation_plan(
    study: MitigationStudy, note: Callable[[str], None] = lambda text: None
) -> MitigationPlan:
    """The plan of a study of mitigations.

    Raises:
        BadStudy: names the field that cannot be.
        UnknownName: for a method, a setting, or whatever a study names that does not exist.
        BadData: if photos are missing, too few, or in more than one split; names the ids.
    """
    settings = study.settings()
    plan = make_plan(study, note)
    if any("regions" in setting.make().needs for setting in settings):
        note("placing regions and their placebos")
        carrying = carrying_regions(plan.examples, plan.regions, seed=study.seed)
        plan = replace(plan, examples=tuple(carrying))
    if not isinstance(plan.dataset, Dataset):
        raise BadStudy(
            "dataset.name", study.dataset.name, "photos: mitigations are judged on photos"
        )
    note("looking for photos in two splits")
    return plan_of(plan, study, settings, outline_model(study.model))


def plan_of(
    plan: Plan, study: MitigationStudy, settings: tuple[Setting, ...], outline: StagedModel
) -> MitigationPlan:
    """The plan of photos that were read already; the same checks of the splits.

    Raises:
        BadData: if a photo is in more than one split, or a split lacks a group.
    """
    refuse_same_photo(plan.examples)
    made = MitigationPlan(plan, study, settings, {})
    for split, examples in made.split.items():
        counts = Counter(example.attributes["group"] for example in examples)
        lacking = [group for group in study.dataset.groups if counts[group] < 2]
        if lacking:
            raise BadData(
                f"split {split!r} has fewer than 2 photos of {lacking} (all: {dict(counts)}); mitigations "
                "need all groups in fit, dev and test: take more photos"
            )
    protocol = study.mitigation
    asked: dict[str, Asked] = {
        split: _asked(plan, study, made.split[split], outline)
        for split in (protocol.choose, protocol.report)
    }
    return replace(made, asked=asked)


def _asked(
    plan: Plan, study: MitigationStudy, examples: tuple[Example, ...], outline: StagedModel
) -> Asked:
    dataset: Any = plan.dataset
    if not is_dual(outline) or dataset.frame.empty:
        return Asked()
    captions = dict(zip(dataset.frame["id"], dataset.frame["captions"], strict=True))
    # the first caption is never read for the label; photos of one's own may have none
    own = tuple(
        " ".join(captions[e.id][0].split()) if len(captions[e.id]) else "" for e in examples
    )
    prompt = prompt_named(study.prompt)
    groups = [group for group in study.dataset.groups if group in prompt.words]
    queries = {
        group: set_word("a photo of a {person}", "{person}", prompt.word(group)) for group in groups
    }
    return Asked(own if all(own) else (), queries if len(queries) > 1 else None)
