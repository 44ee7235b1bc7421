"""A study of the bias of a model on photos: worlds, contrasts, mediators, outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from vlbias.data.world import NULL, WORLDS, World, channels_changed
from vlbias.errors import BadStudy
from vlbias.runs.study import Split, near
from vlbias.studies.arms.study import ArmsStudy
from vlbias.studies.photos.study import PhotoStudy, ThresholdRule, WorldSpec

__all__ = ["OperatingPoint", "Study"]


class OperatingPoint(ThresholdRule):
    """How scores become positives: thresholds calibrated on one split of the null world, or given.

    Args:
        split: Where thresholds are calibrated.
        report: Where rates are reported; all splits of the run if empty.
        min_captions: Agreeing captions that a photo needs to be measured; photos that `dataset.labels`
            lets in with fewer stand in the table of label rules only.
        caption_error: Probability that one caption names the other group. With it, the table of sensitivity
            has B under labels that are drawn anew; 0 leaves it out.
    """

    split: Split = "dev"
    report: tuple[Split, ...] = ()
    min_captions: int = Field(1, ge=1)
    caption_error: float = Field(0.0, ge=0, lt=0.5)


class Study(PhotoStudy, ArmsStudy):
    """One run: a model, photos in worlds, contrasts, mediators, outcomes, and how they are batched.

    Args:
        worlds: Name to what is done; the standard worlds if not given.
    """

    kind: Literal["bias"] = "bias"
    worlds: Mapping[str, WorldSpec] = Field(
        default_factory=lambda: {name: WorldSpec(**asdict(world)) for name, world in WORLDS.items()}
    )
    contrasts: tuple[str, ...] = ("null->both",)
    outcomes: tuple[str, ...] = ("presence",)
    operating_point: OperatingPoint = OperatingPoint()

    def check(self) -> None:
        """See `StudyBase.check`."""
        super().check()
        null = self.worlds.get(NULL)
        if null is not None and channels_changed(null.world(), World()):
            raise BadStudy(
                f"worlds.{NULL}",
                null.model_dump(exclude_defaults=True),
                "a world that changes nothing: the page calls it the model on photos and texts as they are. "
                "Give what you change another name",
            )
        for pair in self.pairs:
            for world in (pair.base, pair.cf):
                if world not in self.worlds:
                    raise BadStudy(
                        "contrasts",
                        pair.name,
                        f"worlds among {sorted(self.worlds)}{near(world, self.worlds)}",
                    )

    @property
    def worlds_needing_regions(self) -> Mapping[str, WorldSpec]:
        """See `PhotoStudy.worlds_needing_regions`."""
        return {
            name: world
            for name, world in self.worlds.items()
            if world.image in ("mask-gender", "placebo")
        }

    def keyed(self) -> dict[str, Any]:
        """See `ArmsStudy.keyed`; of the worlds those that a contrast uses."""
        used = {world for pair in self.pairs for world in (pair.base, pair.cf)}
        worlds = {
            name: world.model_dump(mode="json")
            for name, world in self.worlds.items()
            if name in used
        }
        return {**super().keyed(), **self.keyed_photos(), "worlds": worlds}
