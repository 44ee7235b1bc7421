"""Items of rendered scenes: a deep edit changes what is shown or named, a surface edit as much else.

    scene-objects     deep: another object in place of the one in sight
    scene-image-cues  deep: the person is shown as the other group
    scene-text-cues   deep: the text names the other group

A surface edit darkens as many pixels: of the background, in the outline of the deep edit, for objects; of what
the person wears, for cues, since an outline of a person elsewhere would look like an object. One of a text
replaces the first noun, which says nothing of the scene. What is asked is which object is there: the class of
highest score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlbias.causal.example import Picture
from vlbias.data.pictograms import OBJECTS
from vlbias.data.prompts import GROUP_WORDS, NEUTRAL_WORD, Prompt, set_word
from vlbias.data.scenes import SIDE, Scene, SceneSpec, draw_scene
from vlbias.studies.comprehension.items import word_distance

__all__ = ["SceneItem", "SceneView", "scene_items"]

_OTHER = {"masculine": "feminine", "feminine": "masculine"}
_DARKER = 70


@dataclass(frozen=True)
class SceneView:
    """A scene as it is shown and asked about.

    Args:
        scene: What is in it.
        shown: How its person is shown.
        person: What the text calls the person.
        noun: First noun of the text.
        like: Another view: as many pixels as it differs in are darkened.
        shift: In its outline, so many px away; on the person from the feet up if not given.
    """

    scene: Scene
    shown: str
    person: str
    noun: str = "photo"
    like: SceneView | None = None
    shift: tuple[int, int] | None = None

    def image(self) -> Image.Image:
        """The image in RGB."""
        image = self.scene.render(self.shown)
        if self.like is None:
            return image
        pixels = np.asarray(image).astype(int)
        where = self._darkened(self.outline(self.like))
        pixels[where] -= np.where(pixels[where] >= _DARKER, _DARKER, -_DARKER)
        return Image.fromarray(pixels.astype(np.uint8))

    def _darkened(self, outline: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where pixels are darkened, as many as an outline has."""
        if self.shift is not None:
            return np.roll(outline, self.shift, axis=(0, 1))
        negative = tuple((255 - r, 255 - g, 255 - b) for r, g, b in self.scene.colours)
        person = self.outline(replace(self, scene=replace(self.scene, colours=negative)))
        places = np.argwhere(person)[::-1][: int(outline.sum())]
        where = np.zeros_like(outline)
        where[tuple(places.T)] = True
        return where

    def outline(self, other: SceneView) -> NDArray[np.bool_]:
        """Pixels [64, 64] in which another view of the scene differs."""
        mine, yours = (np.asarray(s.scene.render(s.shown)) for s in (self, other))
        differs: NDArray[np.bool_] = (mine != yours).any(axis=2)
        return differs

    def inputs(self, prompt: Prompt) -> Mapping[str, Any]:
        """What a model takes, with a text as it was trained on."""
        frame = prompt.frame(()).replace("photo", self.noun)
        text = prompt.fill(set_word(frame, "{person}", self.person), tuple(OBJECTS))
        return {"image": Picture(self.image()), "text": text}


@dataclass(frozen=True)
class SceneItem:
    """One item; see `vlbias.studies.comprehension.items.Item`, with views in place of texts.

    Args:
        id: Unique and stable.
        original: The view as it is asked about.
        deep: Views with another meaning.
        surface: Views with as large a change of anything else.
        answer: The object in sight; where none is, no class, so that no answer is right.
    """

    id: str
    original: SceneView
    deep: tuple[SceneView, ...]
    surface: tuple[SceneView, ...]
    answer: str
    choices: tuple[str, ...] = tuple(OBJECTS)
    cluster: str = ""

    def worlds(self) -> Iterator[tuple[str, int, SceneView]]:
        """World, number of the variant, and view."""
        yield "original", 0, self.original
        for world, views in (("deep", self.deep), ("surface", self.surface)):
            for number, view in enumerate(views):
                yield world, number, view

    def size(self, view: SceneView) -> int:
        """Pixels, or words, in which a view differs from the original."""
        mine, yours = (np.asarray(one.image()) for one in (self.original, view))
        words = word_distance(*(f"{v.noun} {v.person}" for v in (self.original, view)))
        return int((mine != yours).any(axis=2).sum()) + words


def scene_items(task: str, count: int, seed: int, *, variants: int) -> list[SceneItem]:
    """So many items of a task; the same for the same seed.

    Args:
        task: One of `vlbias.studies.comprehension.study.SCENE_TASKS`.
        count: How many.
        seed: Of the scenes and of the edits.
        variants: Edits of each arm; of cues there is one.
    """
    spec = SceneSpec(photos=1, seed=seed, co_occurrence=0.0, base=0.5)
    make = {"scene-objects": _object, "scene-image-cues": _image_cue, "scene-text-cues": _text_cue}
    items: list[SceneItem] = []
    number = 0
    while len(items) < count:
        scene = draw_scene(spec, number)
        rng = np.random.default_rng([seed, number, 7])
        item = make[task](scene, rng, variants)
        number += 1
        if item is not None:
            items.append(replace(item, id=f"{task}-{len(items)}"))
    return items


def _object(scene: Scene, rng: np.random.Generator, variants: int) -> SceneItem | None:
    if not scene.things:
        return None
    thing = replace(scene.things[0], hidden=False)
    view = SceneView(replace(scene, things=(thing,), crates=()), "neutral", NEUTRAL_WORD)
    names = [name for name in OBJECTS if name != thing.name]
    deep = [
        replace(view, scene=replace(view.scene, things=(replace(thing, name=names[number]),)))
        for number in rng.permutation(len(names))[:variants]
    ]
    return _item(view, deep, rng, thing.name)


def _image_cue(scene: Scene, rng: np.random.Generator, variants: int) -> SceneItem | None:
    """A crate hides what is there, so that a model has a reason to guess."""
    view = SceneView(replace(scene, things=(), crates=scene.crates[:1]), scene.group, NEUTRAL_WORD)
    if not scene.crates:
        return None
    deep = replace(view, shown=_OTHER[scene.group])
    return SceneItem("", view, (deep,), (replace(view, like=deep),), "")


def _text_cue(scene: Scene, rng: np.random.Generator, variants: int) -> SceneItem | None:
    if not scene.crates:
        return None
    view = SceneView(
        replace(scene, things=(), crates=scene.crates[:1]), "neutral", GROUP_WORDS[scene.group]
    )
    deep = replace(view, person=GROUP_WORDS[_OTHER[scene.group]])
    return SceneItem("", view, (deep,), (replace(view, noun="picture"),), "")


def _item(
    view: SceneView, deep: list[SceneView], rng: np.random.Generator, answer: str
) -> SceneItem | None:
    """The item with a surface edit for each deep one; None if there is no free place for one."""
    surface = []
    for other in deep:
        shift = _free_shift(view, other, rng)
        if shift is None:
            return None
        surface.append(replace(view, like=other, shift=shift))
    return SceneItem("", view, tuple(deep), tuple(surface), answer)


def _free_shift(
    view: SceneView, other: SceneView, rng: np.random.Generator
) -> tuple[int, int] | None:
    """How far to move an outline so that it touches neither person nor thing nor crate."""
    outline = view.outline(other)
    rows, columns = np.nonzero(outline)
    if not len(rows):
        return None
    taken = np.zeros((SIDE, SIDE), bool)
    scene = view.scene
    for x0, y0, x1, y1 in (scene.person, *(t.box for t in scene.things), *scene.crates):
        taken[max(y0, 0) : y1, max(x0, 0) : x1] = True
    free = []
    for dy in range(-int(rows.min()), SIDE - int(rows.max())):
        for dx in range(-int(columns.min()), SIDE - int(columns.max())):
            if not taken[rows + dy, columns + dx].any():
                free.append((dy, dx))
    return free[rng.integers(len(free))] if free else None
