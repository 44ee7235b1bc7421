"""Items of rendered scenes: a deep edit changes what is shown or named, a surface edit as much else.

    scene-objects     deep: another object in place of the one in sight
    scene-image-cues  deep: the person is shown as the other group
    scene-text-cues   deep: the text names the other group

Surface edits of images are those of `vlbias.studies.comprehension.surfaces`. For objects the colour is that of
the object, for cues of what the person wears: an outline of a person on the background would look like an
object. A surface edit of a text replaces the first noun, which says nothing of the scene. What is asked is
which object is there: the class of highest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlbias.data.pictograms import OBJECTS
from vlbias.data.prompts import GROUP_WORDS, NEUTRAL_WORD
from vlbias.data.scenes import Scene, SceneSpec, Thing, draw_scene
from vlbias.studies.comprehension.image_views import (
    ImageItem,
    ImageView,
    Rendered,
    edit_strength,
)
from vlbias.studies.comprehension.surfaces import Canvas, Surface, shift_amount, surface_edit

__all__ = ["SceneItems", "scene_items"]

OTHER_GROUP = {"masculine": "feminine", "feminine": "masculine"}
_CHOICES = tuple(OBJECTS)


def scene_items(
    task: str, count: int, seed: int, *, variants: int, surfaces: Sequence[Surface] = ()
) -> list[ImageItem]:
    """So many items of a task; the same for the same seed.

    Args:
        task: "scene-objects", "scene-image-cues" or "scene-text-cues".
        count: How many.
        seed: Of the scenes and of the edits.
        variants: Edits of each arm; of cues there is one deep edit.
        surfaces: Kinds of surface edits, each used in turn; if none is given, "background" for objects and
            "colour" for cues.
    """
    spec = SceneSpec(photos=1, seed=seed, co_occurrence=0.0, base=0.5)
    draw = SceneItems(seed, variants, tuple(surfaces))
    make = {
        "scene-objects": draw.objects,
        "scene-image-cues": draw.image_cue,
        "scene-text-cues": text_cue,
    }
    items: list[ImageItem] = []
    number = 0
    while len(items) < count:
        item = make[task](draw_scene(spec, number))
        number += 1
        if item is not None:
            items.append(replace(item, id=f"{task}-{len(items)}"))
    return items


class SceneItems:
    """Makes items of scenes.

    Args:
        seed: Of the edits, together with the number of the scene.
        variants: Edits of each arm.
        surfaces: See `scene_items`.
    """

    def __init__(self, seed: int, variants: int, surfaces: tuple[Surface, ...]) -> None:
        self.seed, self.variants, self.surfaces = seed, variants, surfaces

    def objects(self, scene: Scene) -> ImageItem | None:
        """The item of the first object of a scene; None if it has none, or edits have no room."""
        if not scene.things:
            return None
        thing = replace(scene.things[0], hidden=False)
        scene = replace(scene, things=(thing,), crates=())
        view = ImageView(Rendered(scene, "neutral"), NEUTRAL_WORD)
        names = [name for name in OBJECTS if name != thing.name]
        rng = np.random.default_rng([self.seed, scene.number, 7])
        deep = [
            _with_things(view, scene, (replace(thing, name=names[number]),))
            for number in rng.permutation(len(names))[: self.variants]
        ]
        painted = _outline(view, _with_things(view, scene, ()))
        kinds = self.surfaces or ("background",)
        return self._item(view, deep, painted, (scene.person, thing.box), kinds, thing.name)

    def image_cue(self, scene: Scene) -> ImageItem | None:
        """The item of the person of a scene, beside a crate that gives a model a reason to guess."""
        if not scene.crates:
            return None
        scene = replace(scene, things=(), crates=scene.crates[:1])
        view = ImageView(Rendered(scene, scene.group), NEUTRAL_WORD)
        deep = replace(view, source=Rendered(scene, OTHER_GROUP[scene.group]))
        negative = tuple((255 - r, 255 - g, 255 - b) for r, g, b in scene.colours)
        turned = Rendered(replace(scene, colours=negative), scene.group)
        painted = _outline(view, replace(view, source=turned))
        kinds = self.surfaces or ("colour",)
        return self._item(view, [deep], painted, (scene.person, *scene.crates), kinds, "")

    def _item(
        self,
        view: ImageView,
        deep: Sequence[ImageView],
        painted: NDArray[np.bool_],
        spared: Sequence[tuple[int, int, int, int]],
        kinds: Sequence[Surface],
        answer: str,
    ) -> ImageItem | None:
        """The item with surface edits of each kind; None if one has no room."""
        surface = []
        number = view.source.scene.number if isinstance(view.source, Rendered) else 0
        for place in range(max(len(deep), len(kinds))):
            like = deep[place % len(deep)]
            outline = _outline(view, like)
            if not outline.any():
                return None
            amount = shift_amount(edit_strength(view, like), int(outline.sum()))
            canvas = Canvas(outline, painted, spared, amount)
            seed = int(np.random.default_rng([self.seed, number, 8, place]).integers(2**31))
            edit = surface_edit(kinds[place % len(kinds)], canvas, seed)
            if edit is None:
                return None
            surface.append(replace(view, edits=(edit,)))
        return ImageItem("", view, tuple(deep), tuple(surface), answer, _CHOICES)


def text_cue(scene: Scene) -> ImageItem | None:
    """The item of the word for the person of a scene; None if it has no crate."""
    if not scene.crates:
        return None
    bare = replace(scene, things=(), crates=scene.crates[:1])
    view = ImageView(Rendered(bare, "neutral"), GROUP_WORDS[scene.group])
    deep = replace(view, person=GROUP_WORDS[OTHER_GROUP[scene.group]])
    return ImageItem("", view, (deep,), (replace(view, noun="picture"),), "", _CHOICES)


def _with_things(view: ImageView, scene: Scene, things: tuple[Thing, ...]) -> ImageView:
    return replace(view, source=Rendered(replace(scene, things=things), "neutral"))


def _outline(view: ImageView, other: ImageView) -> NDArray[np.bool_]:
    """Pixels [64, 64] in which another view of the scene differs."""
    mine, yours = (np.asarray(one.picture().open()) for one in (view, other))
    differs: NDArray[np.bool_] = (mine != yours).any(axis=2)
    return differs
