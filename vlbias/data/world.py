"""What a world does to image and text, and the worlds of the standard study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from vlbias.data.fill import FILLS, Fill
from vlbias.errors import BadStudy

__all__ = ["NULL", "WORLDS", "World", "WorldAbsent", "channels_changed"]

NULL = "null"
"""The world of photos and texts as they are."""
_IMAGES = (None, "mask-gender", "placebo", "background", "object")
_REGIONS = ("person", "person-mask", "head", "face", "own")
_TEXTS = (None, "replace-gender", "swap-gender", "placebo")


class WorldAbsent(Exception):
    """A channel of a world cannot be made for a photo; the message is the reason."""


@dataclass(frozen=True, slots=True)
class World:
    """What is done to the image and to the text; nothing, where both are None.

    Args:
        image: "mask-gender" fills the regions, "placebo" fills as many pixels away from persons;
            "background" blurs weakly all but the persons, and "object" fills the box of one random
            object, but for persons in it: changes that should not matter.
        text: "replace-gender" makes gender words neutral, "swap-gender" exchanges them, "placebo"
            changes as many other words as replace-gender would.
        fill: "blur", "mean", "black" or "inpaint".
        strength: Share of the filled image, 0 (nothing) to 1.
        region: Which regions; "person" is every person box, crowds too, the others are given to
            `make_examples`.
        keep_objects: Whether the boxes of other annotated objects are painted back.

    Raises:
        BadStudy: if a field is none of these.
    """

    image: Literal["mask-gender", "placebo", "background", "object"] | None = None
    text: Literal["replace-gender", "swap-gender", "placebo"] | None = None
    fill: Fill = "blur"
    strength: float = 1.0
    region: Literal["person", "person-mask", "head", "face", "own"] = "person"
    keep_objects: bool = False

    def __post_init__(self) -> None:
        if self.image not in _IMAGES:
            raise BadStudy("world.image", self.image, f"one of {_IMAGES}")
        if self.text not in _TEXTS:
            raise BadStudy("world.text", self.text, f"one of {_TEXTS}")
        if self.fill not in FILLS:
            raise BadStudy("world.fill", self.fill, f"one of {FILLS}")
        if not 0.0 <= self.strength <= 1.0:
            raise BadStudy("world.strength", self.strength, "a number from 0 (nothing) to 1 (all)")
        if self.region not in _REGIONS:
            raise BadStudy("world.region", self.region, f"one of {', '.join(_REGIONS)}")

    @property
    def image_change(self) -> tuple[str, str, float, str, bool] | None:
        """What is done to the image, or None for nothing (also at strength 0)."""
        if self.image is None or self.strength == 0.0:
            return None
        return self.image, self.fill, self.strength, self.region, self.keep_objects


WORLDS: Mapping[str, World] = MappingProxyType(
    {
        NULL: World(),
        "mask-gender": World(image="mask-gender"),
        "replace-gender": World(text="replace-gender"),
        "both": World(image="mask-gender", text="replace-gender"),
        "placebo-image": World(image="placebo"),
        "placebo-text": World(text="placebo"),
        "placebo-both": World(image="placebo", text="placebo"),
        "background-blur": World(image="background"),
        "object-mask": World(image="object", fill="mean"),
    }
)
"""The worlds of the standard study; `dataclasses.replace` changes fill or strength."""


def channels_changed(world_a: World, world_b: World) -> frozenset[str]:
    """The channels, "image" and "text", that may differ between two worlds."""
    changed = set()
    if world_a.image_change != world_b.image_change:
        changed.add("image")
    if world_a.text != world_b.text:
        changed.add("text")
    return frozenset(changed)
