"""The model of a study of photos; a generative one is asked as the study says."""

from __future__ import annotations

from collections.abc import Iterable

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.data.prompts import prompt_named
from vlbias.errors import BadStudy
from vlbias.models import load_model
from vlbias.models.image_text.question import Askable
from vlbias.studies.photos.study import PhotoStudy

__all__ = ["load_asked", "refuse_question"]


def load_asked(study: PhotoStudy, examples: Iterable[Example]) -> StagedModel:
    """The model of a study with its weights, once it was seen that a generative one can read every photo.

    Raises:
        BadStudy: if questions are set and the model answers none.
        BadModel, BadData: if a photo or a question cannot be run; says which.
    """
    model = load_model(study.model, device=study.device, dtype=study.dtype)
    refuse_question(study, model)
    if not isinstance(model, Askable):
        return model
    if study.question is not None:
        model = model.asking(study.question.question())
    model.refuse_inputs(inputs for example in examples for inputs in example.worlds.values())
    asked: StagedModel = model
    return asked


def refuse_question(study: PhotoStudy, model: StagedModel) -> None:
    """Nothing, if a study asks questions of a model that answers them, and of no other.

    Raises:
        BadStudy: if questions are set for a model that answers none, or no question is put to one that does.
    """
    if isinstance(model, Askable):
        if "?" not in prompt_named(study.prompt).template:
            expected = f"a question, which {model.name} answers: 'question', 'question+person', or your own"
            raise BadStudy(
                "prompt", study.prompt, expected + " (custom:Is there a {object} in this photo?)"
            )
        return
    if study.question is not None:
        given = study.question.model_dump()
        raise BadStudy(
            "question",
            given,
            f"no [question]: {model.name} scores objects, and answers no questions",
        )
