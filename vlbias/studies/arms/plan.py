"""Check a study against its data and its model's outline, before any weight is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example
from vlbias.causal.region import Region
from vlbias.causal.site import Mediator
from vlbias.causal.staged import StagedModel, resolve
from vlbias.data import DATASETS, read_text_dataset
from vlbias.data.labels import Funnel
from vlbias.data.prompts import prompt_named
from vlbias.data.table import Dataset, verify_images
from vlbias.data.texts import Texts
from vlbias.data.world_examples import World, channels_changed, make_examples
from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.models import outline_model
from vlbias.outcomes import OUTCOMES
from vlbias.runs.study import Study
from vlbias.studies.photos.study_regions import read_regions, refuse_regions

__all__ = [
    "Plan",
    "count_rows",
    "engine_of",
    "make_plan",
    "measured_examples",
    "read_dataset",
    "read_examples",
]


@dataclass(frozen=True)
class Plan:
    """A checked study.

    Args:
        study: The study.
        dataset: Its photos, with labels and funnel, or its texts.
        examples: In their worlds, those of the asked splits and groups.
        mediators: With wildcards resolved.
        rows: Of the long table, exactly.
        regions: Name to the region of each photo, for those that the study gives.
    """

    study: Study
    dataset: Dataset | Texts
    examples: tuple[Example, ...]
    mediators: tuple[Mediator, ...]
    rows: int
    regions: Mapping[str, Mapping[str, Region]] = dataclasses.field(default_factory=dict)

    def with_rows(self, rows: int) -> Plan:
        """The plan with its number of rows."""
        return replace(self, rows=rows)

    @property
    def funnel(self) -> str:
        """How many photos were left after each step of the label rule, as lines."""
        content = self.dataset.meta["funnel"]
        if "steps" in content:
            return str(Funnel(**content))
        lines = content.items() if isinstance(content, Mapping) else [("", content)]
        return "\n".join(f"{step}: {count}" if step else str(count) for step, count in lines)

    @property
    def shards(self) -> list[tuple[Example, ...]]:
        """The examples of each cell."""
        size = self.study.shard_size
        return [self.examples[i : i + size] for i in range(0, len(self.examples), size)]


def make_plan(study: Study, note: Callable[[str], None] = lambda text: None) -> Plan:
    """The plan of a study, once everything that can be checked without weights was checked.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadStudy: names the field that cannot be.
        UnknownName: for a dataset, class, mediator, outcome or model that does not exist.
        BadData: for photos or annotations that are missing, unreadable or too few.
        BadModel: if the model's configuration or weights are missing.
    """
    for outcome in study.outcomes:
        OUTCOMES.entry(outcome)
    note("reading the data set")
    if study.is_of_texts:
        return _plan_of_texts(study, note)
    for field, value, plain in (("screen", study.screen, None), ("align", study.align, "record")):
        if value != plain:
            raise BadStudy(field, value, f"{plain!r} for photos: only texts have it")
    dataset = read_dataset(study)
    examples, regions = read_examples(study, dataset, note)
    _refuse_small_groups(study, examples)
    note("reading the model's outline")
    outline = outline_model(study.model)
    _refuse_prompt(study, outline)
    mediators = tuple(resolve(outline, study.mediators))
    _refuse_outcomes(study, outline)
    note("opening every photo")
    used = {example.id for example in examples}
    verify_images(replace(dataset, frame=dataset.frame[dataset.frame["id"].isin(used)]))
    plan = Plan(study, dataset, examples, mediators, 0, regions)
    return plan.with_rows(count_rows(plan, outline))


def _plan_of_texts(study: Study, note: Callable[[str], None]) -> Plan:
    spec, least = study.dataset, study.operating_point.min_captions
    if least > 1:
        raise BadStudy(
            "operating_point.min_captions", least, "1 for texts: only photos have captions"
        )
    texts = read_text_dataset(spec.name, spec.path, spec.options)
    for pair in study.pairs:
        for world in (pair.base, pair.cf):
            if world not in texts.worlds:
                raise UnknownName(
                    f"world of {spec.name} (contrast {pair.name})", world, texts.worlds
                )
    examples = texts.chosen(spec.splits, spec.groups, limit=spec.limit, seed=study.seed)
    note("reading the model's outline")
    outline = outline_model(study.model)
    _refuse_outcomes(study, outline)
    if any(tower.channels != ("text",) for tower in outline.towers):
        raise BadStudy("model", study.model, f"a language model for the texts of {spec.name!r}")
    plan = Plan(study, texts, examples, tuple(resolve(outline, study.mediators)), 0)
    return plan.with_rows(count_rows(plan, outline))


def read_examples(
    study: Study, dataset: Dataset, note: Callable[[str], None] = lambda text: None
) -> tuple[tuple[Example, ...], Mapping[str, Mapping[str, Region]]]:
    """The photos of a study in its worlds, and the regions that the study gives.

    Raises:
        BadStudy: if a world needs a region that nobody gives.
        BadData: if a group has no photo, or a region lies outside one.
    """
    refuse_regions(study)
    making = partial(
        make_examples,
        dataset,
        prompt=study.prompt,
        splits=study.dataset.splits,
        groups=study.dataset.groups,
        seed=study.seed,
        limit=study.dataset.limit,
    )
    regions = read_regions(study, making({"null": World()}), note) if study.regions else {}
    worlds = {name: spec.world() for name, spec in study.worlds.items()}
    return tuple(making(worlds, regions=tuple(regions.values()))), regions


def engine_of(plan: Plan, model: StagedModel) -> Engine:
    """The engine that runs a plan on a model."""
    if isinstance(plan.dataset, Texts):
        altered = altered_channels(plan.examples, plan.study.pairs)
    else:
        worlds = {name: spec.world() for name, spec in plan.study.worlds.items()}
        altered = {
            pair: channels_changed(worlds[pair.base], worlds[pair.cf]) for pair in plan.study.pairs
        }
    return Engine(
        model,
        plan.study.pairs,
        plan.mediators,
        altered=altered,
        unmediated=[Contrast.parse(text) for text in plan.study.unmediated],
        mediator_batch=plan.study.mediator_batch,
    )


def read_dataset(study: Study) -> Dataset:
    """The photos of a study, restricted to its classes.

    Raises:
        UnknownName: for a dataset or a class that does not exist.
        BadData: from the reader.
    """
    spec = study.dataset
    read = DATASETS.load(spec.name)
    if spec.path is None:
        raise BadStudy(
            "dataset.path", None, f"the folder of {spec.name!r}, relative to the study file"
        )
    dataset = read(Path(spec.path), spec.labels.rule())
    for field, names in (
        ("objects", study.objects),
        ("operating_point.thresholds", study.operating_point.thresholds),
    ):
        for name in names:
            if name not in dataset.classes:
                raise UnknownName(
                    f"class of {spec.name} (study field {field!r})", name, dataset.classes
                )
    given = study.operating_point
    classes = study.objects or dataset.classes
    if given.rule == "given" and set(classes) - set(given.thresholds):
        lacking = sorted(set(classes) - set(given.thresholds))
        raise BadStudy(
            "operating_point.thresholds", lacking, "a threshold for every class of the study"
        )
    return replace(dataset, classes=tuple(classes))


def measured_examples(study: Study, examples: Sequence[Example]) -> tuple[Example, ...]:
    """The photos whose label enough captions agree on; the others show how the label rule matters.

    Raises:
        BadStudy: if captions are to agree and no caption gave the groups.
    """
    least = study.operating_point.min_captions
    if least == 1:
        return tuple(examples)
    votes = [example.attributes.get("agreeing_captions", "") for example in examples]
    if not all(votes):
        raise BadStudy(
            "operating_point.min_captions",
            least,
            "1: the groups of these photos are given, not read from captions",
        )
    return tuple(e for e, count in zip(examples, votes, strict=True) if int(count) >= least)


def _refuse_small_groups(study: Study, examples: tuple[Example, ...]) -> None:
    examples = measured_examples(study, examples)
    counts = {group: 0 for group in study.dataset.groups}
    for example in examples:
        counts[example.attributes["group"]] += 1
    small = {group: n for group, n in counts.items() if n < study.min_group}
    if small:
        raise BadData(
            f"groups with fewer than min_group = {study.min_group} photos: "
            f"{', '.join(f'{group!r} has {n}' for group, n in small.items())} (all groups: {counts}). "
            "Take more splits, another label rule, or lower min_group and read the noise floor."
        )
    splits = {example.attributes["split"] for example in examples}
    point = study.operating_point
    for field, wanted in (("split", (point.split,)), ("report", point.report)):
        for split in wanted:
            if split not in splits and (field == "report" or point.rule != "given"):
                raise BadStudy(
                    f"operating_point.{field}", split, f"a split of the run: {sorted(splits)}"
                )


def _refuse_prompt(study: Study, outline: StagedModel) -> None:
    prompt = prompt_named(study.prompt)
    grounds = "boxes" in outline.gives
    if "presence" in study.outcomes and not (
        prompt.is_per_class or (grounds and prompt.lists_classes)
    ):
        expected = "one text per class ('{object}' in it) for 'presence'"
        if grounds:
            expected += ", or a text that lists them ('{categories}' in it)"
        raise BadStudy("prompt", study.prompt, expected)
    if "match" in study.outcomes and prompt.is_per_class:
        raise BadStudy("prompt", study.prompt, "one text per photo (such as 'caption') for 'match'")


def _refuse_outcomes(study: Study, outline: StagedModel) -> None:
    if study.keep_boxes and "boxes" not in outline.gives:
        raise BadStudy("keep_boxes", study.keep_boxes, f"0: {outline.name} finds no boxes")
    for name in study.outcomes:
        needs = OUTCOMES.load(name)(()).needs
        if not needs <= outline.gives:
            raise BadStudy(
                "outcomes", name, f"an outcome that {outline.name} gives: {sorted(outline.gives)}"
            )


def count_rows(plan: Plan, outline: StagedModel) -> int:
    """Rows of the long table that a plan will fill, exactly."""
    engine = engine_of(plan, outline)
    classes = plan.dataset.classes
    targets = sum(len(OUTCOMES.load(name)(classes).targets) for name in plan.study.outcomes)
    arms = {pair: 2 + 2 * len(engine.mediators_of(pair)) for pair in plan.study.pairs}
    return sum(
        targets * (count if {pair.base, pair.cf} <= set(example.worlds) else 2)
        for pair, count in arms.items()
        for example in plan.examples
    )
