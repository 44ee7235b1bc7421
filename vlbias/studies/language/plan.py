"""Check a study of a language model against its texts and its model's outline, before any weight is loaded."""

from __future__ import annotations

from dataclasses import replace

from vlbias.causal.engine import altered_channels
from vlbias.causal.staged_model import resolve
from vlbias.data import read_text_dataset
from vlbias.errors import BadStudy, UnknownName
from vlbias.models import outline_model
from vlbias.outcomes import OUTCOMES
from vlbias.runs.events import Note, silent
from vlbias.studies.arms.plan import ArmsPlan, refuse_outcomes
from vlbias.studies.arms.racing import in_rounds
from vlbias.studies.language.numbers.contrast_odds import OUTCOME
from vlbias.studies.language.study import Study

__all__ = ["make_plan"]


def make_plan(study: Study, note: Note = silent) -> ArmsPlan[Study]:
    """The plan of a study, once everything that can be checked without weights was checked.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadStudy: names the field that cannot be.
        UnknownName: for texts, a world, mediator, outcome or model that does not exist.
        BadData: if the texts are missing or wrong.
        BadModel: if the model's configuration cannot be read.
    """
    for outcome in study.outcomes:
        OUTCOMES.entry(outcome)
    note("reading the texts")
    spec = study.dataset
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
    refuse_outcomes(study.outcomes, outline)
    read = {channel for tower in outline.towers for channel in tower.channels}
    given = {channel for e in examples for inputs in e.worlds.values() for channel in inputs}
    if read != given:
        what = "a language model" if given == {"text"} else "a model that reads photos and answers"
        raise BadStudy("model", study.model, f"{what} for the texts of {spec.name!r}")
    mediators = tuple(resolve(outline, study.mediators))
    altered = altered_channels(examples, study.pairs)
    plan = in_rounds(ArmsPlan(study, texts, tuple(examples), mediators, altered, "texts"))
    if study.racing is not None and OUTCOME not in study.outcomes:
        raise BadStudy("racing", study.outcomes, f"outcomes with {OUTCOME!r}, which is raced")
    if study.racing is not None and study.screen is not None:
        raise BadStudy(
            "screen",
            study.screen,
            "no screen beside [racing]: the texts that choose would be raced",
        )
    return replace(plan.counted(plan.engine(outline)), files=texts.files)
