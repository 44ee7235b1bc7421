"""On models whose bias is planted, the right block takes it out, and the wrong one leaves it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.data.pictograms import OBJECTS
from vlbias.data.scenes import LINKED, Scene, SceneSpec, draw_scene
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.crossed_pairs import PairLogits
from vlbias.models import load_model

NAMES = list(OBJECTS)
SIGN = np.array([(name in LINKED["feminine"]) - (name in LINKED["masculine"]) for name in NAMES])
IMAGE, TEXT = ("image_encoder/mlp.2",), ("text_encoder/mlp.1",)
FAST: dict[str, Any] = {"steps": 100, "rate": 3e-3}


def text(family: str, word: str) -> Any:
    if family == "detector":
        return GroundedText(f"a photo of a {word}. ", tuple(NAMES))
    return tuple(f"a photo of a {word} with a{'n' * (n[0] in 'aeiou')} {n}" for n in NAMES)


def scenes(seed: int, count: int) -> list[Scene]:
    """In which no object goes with anybody."""
    return [draw_scene(SceneSpec(seed=seed, co_occurrence=0.0), number) for number in range(count)]


def examples(family: str, some: list[Scene]) -> list[Example]:
    return [
        Example(
            str(scene.number),
            str(scene.number),
            {"null": {"image": Picture(scene.render()), "text": text(family, scene.word)}},
            {"present": scene.present},
            {"group": scene.group},
        )
        for scene in some
    ]


def logits(model: Any, family: str, images: list[Picture], word: str) -> Any:
    inputs = [{"image": image, "text": text(family, word)} for image in images]
    return PairLogits(model, inputs, frozenset(tower.name for tower in model.towers)).all().numpy()


def cue(model: Any, family: str, plant: str, some: list[Scene]) -> float:
    """By how many logits the objects of a group are seen more where that group is shown, or named."""
    shown, words = ("neutral", "neutral"), ("woman", "man")
    if plant == "image":
        shown, words = ("feminine", "masculine"), ("person", "person")
    ours, theirs = (
        logits(model, family, [Picture(scene.render(how)) for scene in some], word)
        for how, word in zip(shown, words, strict=True)
    )
    return float(((ours - theirs) @ SIGN).mean() / np.abs(SIGN).sum())


def precision(model: Any, family: str, some: list[Scene]) -> float:
    """Mean average precision of presence."""
    found = logits(model, family, [Picture(scene.render()) for scene in some], "person")
    there = np.array([[name in scene.present for name in NAMES] for scene in some])
    both = zip(there.T, found.T, strict=True)
    return float(np.mean([average_precision_score(one, of) for one, of in both]))


def removed(
    family: str, plant: str, name: str, sites: tuple[str, ...], count: int = 120, **settings: Any
) -> tuple[float, float]:
    """The share of the plant that a mitigation takes out, and what it changes of the precision."""
    model = load_model(f"planted-{family}-{plant}")
    test, fit = scenes(2, count // 2), examples(family, scenes(1, count))
    ready = make_mitigation(name, sites=sites, **settings).fit(
        model, fit, rng=np.random.default_rng(0)
    )
    before, could = cue(model, family, plant, test), precision(model, family, test)
    with ready.applied(model) as changed:
        left, can = cue(changed, family, plant, test), precision(changed, family, test)
    return 1 - left / before, can - could


def test_an_edit_of_the_planted_encoder_takes_the_plant_out() -> None:
    model, test, fit = (
        load_model("planted-dual-image"),
        scenes(2, 8),
        examples("dual", scenes(1, 48)),
    )
    before = cue(model, "dual", "image", test)
    for sites, left in ((IMAGE, (-0.2, 0.2)), (TEXT, (0.9, 1.1))):
        ready = make_mitigation("rank-one", sites=sites).fit(
            model, fit, rng=np.random.default_rng(0)
        )
        with ready.applied(model) as changed:
            assert left[0] <= cue(changed, "dual", "image", test) / before <= left[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "plant", "name", "right", "wrong"),
    [
        ("dual", "image", "rank-one", IMAGE, TEXT),
        ("dual", "image", "located-unlearning", IMAGE, TEXT),
        ("dual", "text", "located-unlearning", TEXT, IMAGE),
        ("detector", "image", "rank-one", IMAGE, ("text_encoder/mlp.0",)),
        (
            "detector",
            "image",
            "located-unlearning",
            ("image_encoder/mlp.*",),
            ("text_encoder/mlp.0",),
        ),
    ],
)
def test_the_right_block_takes_the_plant_out_and_the_wrong_one_leaves_it(
    family: str, plant: str, name: str, right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    settings = FAST if name == "located-unlearning" else {}
    count = 300 if family == "dual" else 120
    share, performance = removed(family, plant, name, right, count, **settings)
    other, unharmed = removed(family, plant, name, wrong, count, **settings)
    print(
        f"{family} {plant} {name}: {share:.3f} {performance:+.3f}, wrong {other:.3f} {unharmed:+.3f}"
    )
    assert share >= 0.8
    assert abs(other) <= 0.1
    assert min(performance, unharmed) > -0.01


@pytest.mark.slow
def test_training_on_shuffled_groups_leaves_the_plant() -> None:
    settings = {**FAST, "control": "shuffled-groups"}
    share, _ = removed("dual", "text", "located-unlearning", TEXT, 300, **settings)
    assert abs(share) <= 0.1


@pytest.mark.slow
def test_a_random_key_leaves_the_plant() -> None:
    share, _ = removed("dual", "image", "rank-one", IMAGE, 150, control="random-key")
    assert abs(share) <= 0.1


@pytest.mark.slow
def test_one_key_cannot_take_out_what_a_word_does_to_each_object() -> None:
    """The word of a text moves the texts of a group's objects apart: by mean keys nothing is seen of it."""
    share, _ = removed("dual", "text", "rank-one", TEXT, 150, token=-1)
    assert abs(share) <= 0.1
