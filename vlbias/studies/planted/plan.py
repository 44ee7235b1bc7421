"""The checked plan of a study of planted models: one part for every model and set of scenes."""

from __future__ import annotations

from dataclasses import dataclass

from vlbias.data.pictograms import OBJECTS
from vlbias.errors import BadStudy
from vlbias.models import MODELS
from vlbias.runs.events import Note, silent
from vlbias.runs.interfaces import Plan
from vlbias.studies.planted.plants import ENCODERS, MASKED, PLACEBO, TRUTH, model_name
from vlbias.studies.planted.study import Study

__all__ = ["Part", "PlantedPlan", "make_plan"]

_QUIET_SEEDS = 4
"""Times as many sets of scenes for the model that should say nothing."""
_SEEDS_APART = 1000
"""Sets of scenes that studies of different seeds are apart."""


@dataclass(frozen=True)
class Part:
    """One model on one set of scenes.

    Args:
        plant: Where the model's bias comes from; one of `plants.TRUTH`.
        seed: Of the scenes and of the resampling.
        photos: Scenes in the set.
    """

    plant: str
    seed: int
    photos: int

    def __len__(self) -> int:
        return self.photos


@dataclass(frozen=True)
class PlantedPlan(Plan):
    """A checked study of planted models.

    Args:
        study: The study.
        parts: In the order in which they are run.
        rows: Of the potential outcomes below the run folder, at most.
    """

    study: Study
    parts: tuple[Part, ...]
    rows: int

    @property
    def funnel(self) -> str:
        """See `Plan.funnel`."""
        study = self.study
        return (
            f"models                   {len(TRUTH)} of family {study.family}\n"
            f"sets of scenes           {study.seeds} a model, {_QUIET_SEEDS * study.seeds} without bias\n"
            f"scenes in a set          {study.photos}"
        )

    @property
    def n_parts(self) -> int:
        """See `Plan.n_parts`."""
        return len(self.parts)


def make_plan(study: Study, note: Note = silent) -> PlantedPlan:
    """The plan of a study.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadStudy: if vlbias comes without a model of the family.
    """
    names = [model_name(study.family, plant) for plant in TRUTH]
    lacking = [name for name in names if name not in MODELS]
    if lacking:
        raise BadStudy("family", study.family, f"a whole family; there is no {', '.join(lacking)}")
    first = _SEEDS_APART * study.seed
    parts = tuple(
        Part(plant, first + number, study.photos)
        for plant, encoders in TRUTH.items()
        for number in range(study.seeds * (1 if encoders else _QUIET_SEEDS))
    )
    arms = len((MASKED, PLACEBO)) * (2 + 2 * len(ENCODERS))
    return PlantedPlan(study, parts, sum(map(len, parts)) * arms * len(OBJECTS))
