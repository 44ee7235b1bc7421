"""Rendered scenes: photos whose truth is known, each a pure function of a seed and its number.

A person stands among everyday objects; some of them are behind crates, so that a model has a reason
to guess. What shows the person's gender, hair and garment in the image and one word in the caption,
can be set without moving any other pixel or word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlbias.causal.region import PixelBox
from vlbias.data.pictograms import OBJECTS, draw_crate, draw_object, draw_person
from vlbias.data.prompts import GROUP_WORDS, NEUTRAL_WORD
from vlbias.errors import BadStudy

__all__ = [
    "LINKED",
    "SHOWN",
    "SIDE",
    "Scene",
    "SceneSpec",
    "draw_scene",
]

SIDE = 64
"""Width and height of a scene in px."""
SHOWN = ("masculine", "feminine", "neutral")
LINKED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "feminine": ("handbag", "umbrella", "vase", "wine glass", "teddy bear"),
        "masculine": ("tie", "skateboard", "sports ball", "baseball bat", "laptop"),
    }
)
"""Group to the objects that go with it where co-occurrence is not 0; the others go with nobody."""

_OBJECT, _CRATE, _PERSON = 13, 15, (20, 46)  # px
_CUES = ("both", "image", "text", "none")
_PLACES = ("in a room", "on a street", "on a beach", "near a building")
_GROUNDS = ((196, 188, 176), (168, 170, 176), (214, 200, 160), (176, 192, 204))
_NOISE = 9.0  # standard deviation, of 255


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSpec:
    """Everything that determines a set of scenes.

    Args:
        photos: How many.
        seed: Of everything; scene n of a seed is the same in a set of any size.
        co_occurrence: c in [0, 1]: an object is there with probability base x (1 + c) beside a person
            of the group it is linked with, and base x (1 - c) beside the other; see `LINKED`.
        cue: What tells the group: "both", "image", "text" (the caption), or "none"; what does not
            tell is neutral.
        base: Probability of an object where nothing is linked.
        hidden: Share of objects that are behind a crate.
        empty: Mean number of crates with nothing behind.

    Raises:
        BadStudy: if a value is out of range.
    """

    photos: int = 1000
    seed: int = 0
    co_occurrence: float = 0.8
    cue: Literal["both", "image", "text", "none"] = "both"
    base: float = 0.25
    hidden: float = 0.4
    empty: float = 0.8

    def __post_init__(self) -> None:
        for name in ("co_occurrence", "hidden"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise BadStudy(f"scenes.{name}", getattr(self, name), "a number from 0 to 1")
        if not 0.0 < self.base <= 0.5:
            raise BadStudy("scenes.base", self.base, "a number above 0, up to 0.5")
        if self.cue not in _CUES:
            raise BadStudy("scenes.cue", self.cue, f"one of {', '.join(_CUES)}")
        if self.photos < 1 or self.empty < 0:
            raise BadStudy("scenes.photos", self.photos, "1 or more, and empty 0 or more")

    def probability(self, name: str, group: str) -> float:
        """That an object is in a scene with a person of a group."""
        sign = next((1 if group == g else -1 for g, names in LINKED.items() if name in names), 0)
        return self.base * (1 + sign * self.co_occurrence)


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of a scene; `box` is all of it, also where a crate or another object hides it."""

    name: str
    box: PixelBox
    hidden: bool
    shift: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in a scene; how its person is shown and spoken of can be set when it is rendered.

    Args:
        number: Its number in the set.
        group: "masculine" or "feminine".
        cue: Of the spec.
        person: Box of the person.
        things: Objects, in the order they are drawn.
        crates: Boxes of crates, each over an object or over nothing.
        place: Index of background and of the words for it.
        colours: Of skin, hair and clothes.
        noise: Seed of the grain.
    """

    number: int
    group: str
    cue: str
    person: PixelBox
    things: tuple[Thing, ...]
    crates: tuple[PixelBox, ...]
    place: int
    colours: tuple[tuple[int, int, int], ...]
    noise: tuple[int, int]

    @property
    def shown(self) -> str:
        """How the image shows the person unless it is set."""
        return self.group if self.cue in ("both", "image") else "neutral"

    @property
    def word(self) -> str:
        """What the caption calls the person."""
        return GROUP_WORDS[self.group] if self.cue in ("both", "text") else NEUTRAL_WORD

    @property
    def present(self) -> frozenset[str]:
        """Names of all objects, the hidden ones too."""
        return frozenset(thing.name for thing in self.things)

    def render(self, shown: str | None = None) -> Image.Image:
        """The image in RGB, with the person shown as "masculine", "feminine" or "neutral".

        Raises:
            BadStudy: if it is none of these.
        """
        shown = self.shown if shown is None else shown
        if shown not in SHOWN:
            raise BadStudy("shown", shown, f"one of {', '.join(SHOWN)}")
        image = Image.new("RGB", (SIDE, SIDE), _GROUNDS[self.place])
        pen = ImageDraw.Draw(image)
        draw_person(pen, self.person, shown, *self.colours)
        for thing in self.things:
            draw_object(pen, thing.name, thing.box, thing.shift)
        for crate in self.crates:
            draw_crate(pen, crate)
        grain = np.random.default_rng(self.noise).normal(0.0, _NOISE, (SIDE, SIDE, 3))
        pixels = np.clip(np.asarray(image) + np.rint(grain), 0, 255)
        return Image.fromarray(pixels.astype(np.uint8))

    def cue_mask(self) -> NDArray[np.bool_]:
        """Pixels [64, 64] that how the person is shown can change; all inside the person's box."""
        masculine, feminine, neutral = (np.asarray(self.render(shown)) for shown in SHOWN)
        differs: NDArray[np.bool_] = (masculine != feminine) | (masculine != neutral)
        return np.asarray(differs.any(axis=2))

    def captions(self) -> tuple[str, ...]:
        """What a captioner could write; the first names no object."""
        where = f"{self.word} {_PLACES[self.place]}"
        seen = [thing.name for thing in self.things if not thing.hidden]
        named = " and ".join(f"a{'n' * (name[0] in 'aeiou')} {name}" for name in seen[:2])
        return (f"a photo of a {where}", f"a {where} with {named or 'nothing'}")


def draw_scene(spec: SceneSpec, number: int) -> Scene:
    """Scene `number` of a set: the same for the same seed, whatever the number of photos."""
    rng = np.random.default_rng([spec.seed, number])
    group = ("masculine", "feminine")[int(rng.integers(2))]
    width, height = _PERSON
    x, y = int(rng.integers(SIDE - width + 1)), int(rng.integers(SIDE - height + 1))
    person = (x, y, x + width, y + height)
    things: list[Thing] = []
    # every draw is made for every object, so that one more object leaves the others as they are
    for name in rng.permutation(list(OBJECTS)).tolist():
        there, hidden = rng.random(2)
        shift = tuple(rng.integers(-25, 26, 3).tolist())
        corner = _free_corner(rng, person, [thing.box for thing in things], _CRATE)
        if there < spec.probability(name, group):
            things.append(
                Thing(name, _square(corner, _OBJECT, 1), bool(hidden < spec.hidden), shift)
            )
    crates = [_square(thing.box[:2], _CRATE, -1) for thing in things if thing.hidden]
    taken = [thing.box for thing in things]
    for _ in range(int(rng.poisson(spec.empty))):
        crates.append(_square(_free_corner(rng, person, taken, _CRATE), _CRATE))
        taken.append(crates[-1])
    tone = float(rng.uniform(0.35, 1.0))
    colours = (
        (round(235 * tone), round(190 * tone), round(160 * tone)),
        tuple(rng.integers(20, 120, 3).tolist()),
        tuple(rng.integers(30, 226, 3).tolist()),
    )
    noise = (spec.seed, int(rng.integers(2**31)))
    place = int(rng.integers(len(_PLACES)))
    return Scene(
        number, group, spec.cue, person, tuple(things), tuple(crates), place, colours, noise
    )


def _square(corner: Sequence[int], side: int, inset: int = 0) -> PixelBox:
    x, y = corner[0] + inset, corner[1] + inset
    return (x, y, x + side, y + side)


def _free_corner(
    rng: np.random.Generator, person: PixelBox, taken: Sequence[PixelBox], side: int
) -> tuple[int, int]:
    """Where a square lies off the person and, of eight tries, covers least of what is there."""
    free = [x for x in range(SIDE - side + 1) if x + side <= person[0] or x >= person[2]]
    tries = [(free[int(a * len(free))], int(b * (SIDE - side + 1))) for a, b in rng.random((8, 2))]
    return min(tries, key=lambda at: sum(_shared(_square(at, side), box) for box in taken))


def _shared(a: PixelBox, b: PixelBox) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
