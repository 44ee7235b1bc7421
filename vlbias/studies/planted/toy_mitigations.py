"""A study of mitigations whose answer is known: bias planted through one encoder of the toy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vlbias.models import load_model
from vlbias.studies.arms.plan import count_rows
from vlbias.studies.mitigation.plan import MitigationPlan, plan_of
from vlbias.studies.mitigation.study import MitigationStudy
from vlbias.studies.planted.toy_study import toy_examples, toy_plan

__all__ = ["planted_plan"]

_CUE = 6.0


def planted_plan(
    methods: Sequence[Mapping[str, Any]],
    route: Literal["image", "text"] = "image",
    *,
    photos: int = 3000,
    seed: int = 0,
    name: str = "planted",
    **protocol: Any,
) -> MitigationPlan:
    """The study of some methods on the toy, where a group's cue enters through one encoder alone.

    The toy's encoders keep all that they are given, so that a mitigation can take the cue out and
    leave the content: objects are there by the content alone, and the cue is all that misleads.

    Args:
        methods: As `[[mitigation.methods]]` of a study file.
        route: The encoder the cue enters through.
        photos: How many are drawn, a third for each split.
        seed: Of everything.
        name: Of the run folder.
        **protocol: Further settings of `protocol.Protocol`.
    """
    study = MitigationStudy.model_validate(
        {
            "name": name,
            "model": "toy-wide",
            "dataset": {"name": "toy"},
            "mitigation": {"methods": list(methods), **protocol},
            "seed": seed,
        }
    )
    toy: Any = load_model(study.model)
    strength = {channel: _CUE * (channel == route) for channel in ("image", "text")}
    examples = toy_examples(
        toy, photos, np.random.default_rng(seed), strength, ("dev", "fit", "test")
    )
    plan = toy_plan(study, examples)
    return plan_of(plan.with_rows(count_rows(plan, toy)), study, study.settings(), toy)
