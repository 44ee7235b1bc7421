"""Rendered scenes are what their numbers say: the same for the same seed, worlds differ in the cue alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageDraw

from vlbias.data import open_dataset
from vlbias.data.counterfactual_examples import WORLDS, make_examples
from vlbias.data.lexicon import gender_words
from vlbias.data.pictograms import OBJECTS, draw_object
from vlbias.data.scene_folder import write_scenes
from vlbias.data.scenes import LINKED, SHOWN, SIDE, Scene, SceneSpec, draw_scene
from vlbias.errors import BadData, BadStudy

SPEC = SceneSpec(photos=30, seed=3)


def pixels(scene: Scene, shown: str | None = None) -> np.ndarray:
    return np.asarray(scene.render(shown)).astype(int)


def test_a_scene_depends_on_seed_and_number_alone() -> None:
    assert draw_scene(SPEC, 7) == draw_scene(replace(SPEC, photos=5000), 7)
    np.testing.assert_array_equal(pixels(draw_scene(SPEC, 7)), pixels(draw_scene(SPEC, 7)))
    assert draw_scene(SPEC, 7) != draw_scene(SPEC, 8)
    assert draw_scene(SPEC, 7) != draw_scene(replace(SPEC, seed=4), 7)


def test_worlds_differ_in_the_pixels_of_the_cue_alone() -> None:
    for number in range(20):
        scene = draw_scene(SPEC, number)
        mask = scene.cue_mask()
        assert 0.03 < mask.mean() < 0.15  # there is a cue, and it is small
        x0, y0, x1, y1 = scene.person
        assert not mask[:y0].any()
        assert not mask[y1:].any()
        assert not mask[:, :x0].any()
        assert not mask[:, x1:].any()
        for one in SHOWN:
            for other in SHOWN:
                different = (pixels(scene, one) != pixels(scene, other)).any(axis=2)
                assert different.any() == (one != other)
                assert not (different & ~mask).any()


@pytest.mark.parametrize(
    ("cue", "shown", "said"),
    [("both", True, True), ("image", True, False), ("text", False, True), ("none", False, False)],
)
def test_the_cue_is_where_it_was_asked_for(cue: str, shown: bool, said: bool) -> None:
    for number in range(8):
        scene = draw_scene(replace(SPEC, cue=cue), number)
        told = scene.group if shown else "neutral"
        np.testing.assert_array_equal(pixels(scene), pixels(scene, told))
        masculine, feminine = gender_words(" ".join(scene.captions()))
        assert bool(masculine) == (said and scene.group == "masculine")
        assert bool(feminine) == (said and scene.group == "feminine")
        # where the cue is changes nothing else
        assert scene.things == draw_scene(SPEC, number).things


@pytest.mark.integration
@pytest.mark.parametrize("co_occurrence", [0.0, 0.5, 1.0])
def test_objects_go_with_groups_as_often_as_asked(co_occurrence: float) -> None:
    spec = SceneSpec(seed=1, co_occurrence=co_occurrence)
    scenes = [draw_scene(spec, number) for number in range(3000)]
    for group, names in LINKED.items():
        for name in (*names, "cup"):
            for beside in ("masculine", "feminine"):
                there = [name in scene.present for scene in scenes if scene.group == beside]
                sign = 0 if name == "cup" else 1 if beside == group else -1
                wanted = 0.25 * (1 + sign * co_occurrence)
                error = np.sqrt(wanted * (1 - wanted) / len(there))
                assert np.mean(there) == pytest.approx(wanted, abs=4.5 * error + 1e-9)
    hidden = [thing.hidden for scene in scenes for thing in scene.things]
    assert np.mean(hidden) == pytest.approx(spec.hidden, abs=0.03)


def test_boxes_hold_what_is_drawn() -> None:
    for number in range(20):
        scene = draw_scene(SPEC, number)
        for thing in scene.things:
            lone = scene.render("neutral")
            before = np.asarray(lone).copy()
            draw_object(ImageDraw.Draw(lone), thing.name, thing.box, (90, 90, 90))
            rows, columns = np.nonzero((np.asarray(lone) != before).any(axis=2))
            x0, y0, x1, y1 = thing.box
            # a stroke of two pixels may reach one out
            assert -1 <= columns.min() - x0 <= 3
            assert -1 <= x1 - columns.max() - 1 <= 3
            assert -1 <= rows.min() - y0 <= 5
            assert -1 <= y1 - rows.max() - 1 <= 4
            px0, _, px1, _ = scene.person
            assert x1 <= px0 or x0 >= px1, "an object may not cover the cue"
            if thing.hidden:
                assert any(
                    c[0] <= x0 and c[1] <= y0 and c[2] >= x1 and c[3] >= y1 for c in scene.crates
                )


def test_a_hidden_object_leaves_no_pixel() -> None:
    for number in range(60):
        scene = draw_scene(SPEC, number)
        for thing in scene.things:
            if thing.hidden:
                without = replace(scene, things=tuple(t for t in scene.things if t != thing))
                np.testing.assert_array_equal(pixels(scene), pixels(without))


def test_a_folder_of_scenes_is_a_data_set(tmp_path) -> None:
    folder = write_scenes(tmp_path / "scenes", SPEC)
    dataset = open_dataset("scenes", folder)
    assert dataset.classes == tuple(OBJECTS)
    assert len(dataset.frame) == SPEC.photos
    row = dataset.frame.iloc[4]
    scene = draw_scene(SPEC, 4)
    assert set(row["present"]) == scene.present
    assert (row["width"], row["height"]) == (SIDE, SIDE)
    person = next(o for o in row["objects"] if o["class"] == "person")
    assert (person["x0"], person["y0"], person["x1"], person["y1"]) == scene.person
    worlds = {name: WORLDS[name] for name in ("null", "mask-gender", "replace-gender")}
    example = make_examples(dataset, worlds)[4]
    assert example.attributes["group"] == scene.group
    null, masked = (
        np.asarray(example.worlds[w]["image"].open()).astype(int) for w in ("null", "mask-gender")
    )
    np.testing.assert_array_equal(null, pixels(scene))
    x0, y0, x1, y1 = scene.person
    outside = (null != masked).any(axis=2)
    outside[y0:y1, x0:x1] = False
    assert not outside.any()
    assert example.worlds["null"]["text"] != example.worlds["replace-gender"]["text"]


def test_what_is_no_set_of_scenes_is_refused(tmp_path) -> None:
    with pytest.raises(BadData, match="write_scenes"):
        open_dataset("scenes", tmp_path)
    folder = write_scenes(tmp_path / "scenes", replace(SPEC, photos=3))
    next((folder / "images").iterdir()).unlink()
    with pytest.raises(BadData, match="missing"):
        open_dataset("scenes", folder)
    for wrong in ({"co_occurrence": 1.5}, {"base": 0.0}, {"cue": "smell"}, {"photos": 0}):
        with pytest.raises(BadStudy, match=str(next(iter(wrong.values())))):
            SceneSpec(**wrong)
    with pytest.raises(BadStudy, match="blurred"):
        draw_scene(SPEC, 0).render("blurred")
