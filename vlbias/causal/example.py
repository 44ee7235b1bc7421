"""What a study is made of: one example, seen in several worlds, each world a value per channel."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from vlbias.causal.image_file import frame_of, open_image, upright
from vlbias.causal.region import Region
from vlbias.errors import BadData

__all__ = ["Example", "GroundedText", "ImageEdit", "Inputs", "Picture", "channel_key", "mix"]

Inputs = Mapping[str, Any]
"""Channel name to raw value: `{"image": Picture, "text": …}` or variables.

A text is a str, a tuple of one text per class, or a `GroundedText`.
"""


class ImageEdit(Protocol):
    """A change of an image that is a pure function of itself and the image; hashable, with a stable repr."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """The changed image, of the same size; the given one is left as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that is opened when needed, with the edits that make it another world's image.

    Args:
        source: A file, or an image already in memory.
        edits: Applied in order after opening.
        regions: Where something is visible, in pixels of the photo as shown; for what acts on regions.
    """

    source: Path | Image.Image
    edits: tuple[ImageEdit, ...] = ()
    regions: tuple[Region, ...] = ()

    def open(self) -> Image.Image:
        """The image in RGB, turned as its EXIF orientation says, edits applied.

        Raises:
            BadData: if the file is missing, truncated, too large or no image, or an edit changes the
                size; names the file.
        """
        image = self._unedited()
        size = image.size
        for edit in self.edits:
            image = edit(image)
        if image.size != size:
            raise BadData(
                f"{self}: edits change its size from {size} to {image.size}; an edit keeps the size"
            )
        return image

    def _unedited(self) -> Image.Image:
        if isinstance(self.source, Image.Image):
            return upright(self.source, "in memory")
        return open_image(self.source)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown; of a file only the head is read.

        Raises:
            BadData: as `open`.
        """
        if isinstance(self.source, Image.Image):
            return self._unedited().size
        return frame_of(self.source).size

    def region(self, name: str) -> Region:
        """The region of a name; an empty one says that it was looked for and is not there.

        Raises:
            BadData: if it was never looked for, or could not be made; says what to do.
        """
        found = next((region for region in self.regions if region.name == name), None)
        if found is None:
            there = ", ".join(region.name for region in self.regions) or "none"
            raise BadData(
                f"{self}: no region {name!r} is known (known: {there}); attach it with "
                "vlbias.data.regions.with_regions, or give Picture(source, regions=(Region(...),))"
            )
        if found.absent:
            raise BadData(
                f"{self}: there is no region {name!r} ({found.absent}); leave the photo out, as "
                "vlbias.data.regions.lacking lists it"
            )
        return found

    def __str__(self) -> str:
        return f"image {'in memory' if isinstance(self.source, Image.Image) else self.source}"

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for two pictures whose pixels and regions are equal by construction."""
        if isinstance(self.source, Image.Image):
            pixels = self._unedited()
            name = hashlib.sha256(pixels.tobytes()).hexdigest() + str(pixels.size)
        else:
            name = str(self.source)
        return (name, *map(repr, self.edits), *self.regions)


@dataclass(frozen=True, slots=True)
class GroundedText:
    """A text that lists phrases, one per class, which a detector grounds in the image.

    Args:
        before: What stands before the list, its own full stop included: "a man on a horse. ".
        phrases: Class names as they are written, in the order of the classes.
        after: What stands behind the list.
    """

    before: str
    phrases: tuple[str, ...]
    after: str = ""

    def __str__(self) -> str:
        return self.before + " ".join(f"{phrase}." for phrase in self.phrases) + self.after


def channel_key(value: Any) -> Hashable:
    """A hashable identity of one channel's raw value: two equal keys are the same input."""
    if isinstance(value, Picture):
        return value.key
    if isinstance(value, tuple | list):
        return tuple(map(channel_key, value))
    key: Hashable = value
    return key


@dataclass(frozen=True)
class Example:
    """One unit of a study.

    Args:
        id: Unique and stable, for example "coco-val2017/139".
        cluster: What is resampled together: the image, the template, the patient.
        worlds: Name of a world to its inputs; "null" is the unchanged one.
        targets: What outcomes compare with, for example `{"present": frozenset of class names}`.
        attributes: Group and provenance, for example `{"group": "masculine", "split": "test"}`.
        absent: Worlds that could not be made for this example, with the reason; kept as rows with a status.
    """

    id: str
    cluster: str
    worlds: Mapping[str, Inputs]
    targets: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def mix(base: Inputs, cf: Inputs, channels: Collection[str]) -> Inputs:
    """The inputs of `base` with the named channels taken from `cf`.

    Raises:
        KeyError: if `cf` lacks one of the channels.
    """
    return {**base, **{channel: cf[channel] for channel in channels}}
