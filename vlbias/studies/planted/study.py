"""The keys of a study of planted models."""

from __future__ import annotations

from typing import Literal

from vlbias.errors import BadStudy, UnknownName
from vlbias.runs.study import StudyBase
from vlbias.studies.planted.plants import FAMILIES

__all__ = ["Study"]

_LEAST = {"seeds": 2, "photos": 200, "draws": 1}


class Study(StudyBase):
    """Every method on every planted model of a family.

    Args:
        family: One of `plants.FAMILIES`.
        seeds: Sets of scenes for each model; four times as many for the unbiased one.
        photos: Scenes in a set; a fifth of them sets thresholds, four fifths are reported.
        draws: Resampling draws of the effects' tests.
    """

    kind: Literal["planted"] = "planted"
    family: str = "dual"
    seeds: int = 5
    photos: int = 1000
    draws: int = 1000

    def check(self) -> None:
        """See `StudyBase.check`."""
        if self.family not in FAMILIES:
            raise UnknownName("family of planted models", self.family, FAMILIES)
        for field, least in _LEAST.items():
            value = getattr(self, field)
            if value < least:
                raise BadStudy(field, value, f"{least} or more")
