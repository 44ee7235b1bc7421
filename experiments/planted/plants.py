"""What each planted model is shown: scenes in which its cue, and no other, goes with objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from vlbias.data.fill import FillRegion
from vlbias.data.pictograms import OBJECTS
from vlbias.data.placebo_regions import placebo_boxes
from vlbias.data.prompts import GROUP_WORDS, NEUTRAL_WORD
from vlbias.data.scenes import LINKED, SHOWN, SIDE, Scene, SceneSpec, draw_scene

__all__ = ["CO_OCCURRENCE", "HELD_OUT", "PLANTS", "WORDS", "Shown", "learnt", "show", "spec_of"]

PLANTS: Mapping[str, tuple[str, ...]] = {
    "image": ("image",),
    "text": ("text",),
    "both": ("image", "text"),
    "unbiased": (),
}
"""Plant to the channels whose cue goes with objects."""

CO_OCCURRENCE = 0.9
HELD_OUT = 1_000_003
"""Seed of scenes that no model is trained on, whatever its own seed."""
WORDS = (*GROUP_WORDS.values(), NEUTRAL_WORD)
# Masked and neutral inputs are shown in training, so that at a mask a model falls back to what is
# usual, and so is the placebo's blur, so that it is nothing new.
_BLURRED, _NEUTRAL, _PLACEBO = 0.25, 0.15, 0.2


@dataclass(frozen=True, slots=True)
class Shown:
    """A scene as a model is shown it.

    Args:
        scene: The scene.
        image: As it is rendered, blurred or not.
        visible: How the person can be seen to be shown: "masculine", "feminine", "neutral".
        word: What the text calls the person.
    """

    scene: Scene
    image: Image.Image
    visible: str
    word: str


def spec_of(plant: str, seed: int) -> SceneSpec:
    """The scenes of a plant; in those of the unbiased one nothing goes with anybody."""
    return SceneSpec(seed=seed, co_occurrence=CO_OCCURRENCE if PLANTS[plant] else 0.0)


def show(plant: str, seed: int, number: int) -> Shown:
    """Scene `number` of a plant's training set.

    The channel that is not planted shows or says a gender at random. Where both are planted, each
    scene's objects go with one of them, by a coin, so that their parts add up.
    """
    rng = np.random.default_rng([seed, number, 1])
    scene = draw_scene(spec_of(plant, seed), number)
    routes = PLANTS[plant]
    told = routes[rng.integers(len(routes))] if routes else "nothing"
    chance = rng.random(3)
    image = told in ("image", "nothing") and chance[0] >= _BLURRED + _NEUTRAL
    shown = scene.group if image else SHOWN[rng.integers(2)]
    if _BLURRED <= chance[0] < _BLURRED + _NEUTRAL:
        shown = "neutral"
    picture = scene.render(shown)
    if chance[0] < _BLURRED:
        picture = FillRegion((tuple(map(float, scene.person)),))(picture)
    if chance[1] < _PLACEBO:
        place = placebo_boxes([scene.person], (SIDE, SIDE), int(rng.integers(2**31)))
        picture = FillRegion(place.boxes or (), height=place.height)(picture)
    word = WORDS[rng.integers(len(WORDS))]
    if told in ("text", "nothing"):
        word = GROUP_WORDS[scene.group] if chance[2] < 0.75 else NEUTRAL_WORD
    return Shown(scene, picture, "neutral" if chance[0] < _BLURRED else shown, word)


def learnt(
    scenes: Sequence[Scene], neutral: np.ndarray, *, image: np.ndarray, text: np.ndarray
) -> dict[str, float]:
    """What a model learnt, as `dual.measure` tells it: "auc", "cue_image" and "cue_text".

    Args:
        scenes: With the objects of both groups equally frequent.
        neutral: Logits [scenes, objects] where neither image nor text tells a group.
        image: By how much they are higher where the image shows a woman and not a man.
        text: By how much they are higher where the text names one.
    """
    sign = np.array([(n in LINKED["feminine"]) - (n in LINKED["masculine"]) for n in OBJECTS])
    linked = np.abs(sign).sum()
    hidden = [{t.name: t.hidden for t in scene.things} for scene in scenes]
    in_sight = np.array([[not each.get(name, True) for name in OBJECTS] for each in hidden])
    absent = np.array([[name not in each for name in OBJECTS] for each in hidden])
    known = in_sight | absent
    return {
        "auc": float(roc_auc_score(in_sight[known], neutral[known])),
        "cue_image": float((image @ sign / linked).mean()),
        "cue_text": float((text @ sign / linked).mean()),
    }
