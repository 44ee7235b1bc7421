"""What `vlbias check` says of a study: remarks, and those on its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vlbias.causal.staged_model import resolve
from vlbias.errors import VlbiasError
from vlbias.models import outline_model
from vlbias.runs.study import ModelStudy

__all__ = ["Remark", "Verdict", "model_remarks"]

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Remark:
    """One thing that was looked at.

    Args:
        about: What of the study it concerns.
        verdict: "ok", "note" where numbers will say less than one may expect, or "wrong".
        text: What was found and what to do, in words.
    """

    about: str
    verdict: Verdict
    text: str


def model_remarks(study: ModelStudy, mediators: Sequence[str] = ()) -> Iterator[Remark]:
    """Whether the model is there, and whether it has the mediators."""
    try:
        outline = outline_model(study.model)
    except VlbiasError as error:
        yield Remark("model", "wrong", str(error))
        return
    stages = ", ".join(stage.name for tower in outline.towers for stage in tower.stages)
    yield Remark("model", "ok", f"{outline.name}: stages {stages}")
    for text in mediators:
        try:
            resolve(outline, [text])
        except VlbiasError as error:
            yield Remark("mediators", "wrong", str(error))
