"""Check a study of bias against its photos and its model's outline, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.data.world import channels_changed
from vlbias.errors import BadStudy
from vlbias.models import outline_model
from vlbias.outcomes import OUTCOMES
from vlbias.runs.events import Note, silent
from vlbias.studies.arms.plan import ArmsPlan, refuse_outcomes
from vlbias.studies.arms.racing import in_rounds
from vlbias.studies.bias.study import Study
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

__all__ = ["make_plan", "measured_examples", "photos_of", "plan_of"]


def make_plan(study: Study, note: Note = silent) -> ArmsPlan[Study]:
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
    photos = photos_of(study, note)
    measured = measured_examples(study, photos.examples)
    refuse_small_groups(study, measured)
    _refuse_splits(study, measured)
    note("reading the model's outline")
    plan = plan_of(study, photos, outline_model(study.model))
    return replace(plan, files=hash_every_file(study, photos, note))


def photos_of(study: Study, note: Note = silent) -> Photos:
    """The photos of a study in all its worlds.

    Raises:
        BadStudy, BadData, UnknownName: from `read_dataset` and `read_photos`.
    """
    worlds = {name: spec.world() for name, spec in study.worlds.items()}
    return read_photos(study, read_dataset(study), worlds, note)


def plan_of(study: Study, photos: Photos, outline: StagedModel) -> ArmsPlan[Study]:
    """The plan of photos that were read already, checked against the model's outline.

    Raises:
        BadStudy, UnknownName: names what the model cannot do.
    """
    refuse_prompt(study.prompt, study.outcomes, outline)
    refuse_question(study, outline)
    mediators = tuple(resolve(outline, study.mediators))
    refuse_boxes(study.keep_boxes, outline)
    refuse_outcomes(study.outcomes, outline)
    worlds = {name: spec.world() for name, spec in study.worlds.items()}
    altered = {pair: channels_changed(worlds[pair.base], worlds[pair.cf]) for pair in study.pairs}
    # photos that only set thresholds are needed in their worlds alone
    report = study.operating_point.report
    mediated = {e.id for e in photos.examples if not report or e.attributes["split"] in report}
    choosing = {"screen": study.screen, "racing": study.racing}
    asked = [name for name, value in choosing.items() if value is not None]
    if asked and len(mediated) == len(photos.examples):
        raise BadStudy(
            asked[0],
            choosing[asked[0]],
            "photos that are not reported, which choose what is run; give operating_point.report without the "
            f"split {study.operating_point.split!r}: on photos that chose, tests would find too much",
        )
    plan = ArmsPlan(
        study, photos.dataset, photos.examples, mediators, altered, "photos", frozenset(mediated)
    )
    return in_rounds(plan.counted(plan.engine(outline)))


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


def _refuse_splits(study: Study, examples: Sequence[Example]) -> None:
    splits = {example.attributes["split"] for example in examples}
    point = study.operating_point
    for field, wanted in (("split", (point.split,)), ("report", point.report)):
        for split in wanted:
            if split not in splits and (field == "report" or point.rule != "given"):
                raise BadStudy(
                    f"operating_point.{field}", split, f"a split of the run: {sorted(splits)}"
                )
