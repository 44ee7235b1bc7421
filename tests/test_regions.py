"""Regions from annotations and detectors, their placebos, and the interventions that fill them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mitigated import examples
from PIL import Image

import vlbias as vb
from vlbias.causal.example import GroundedText
from vlbias.causal.region import Mask, Region
from vlbias.data.coco_regions import head_box, head_regions, mask_regions
from vlbias.data.faces import face_detector, face_regions
from vlbias.data.fill import FillRegion
from vlbias.data.placebo_regions import placebo_region
from vlbias.data.regions import (
    given_regions,
    lacking,
    object_regions,
    person_regions,
    placebo_regions,
    with_person_regions,
    with_regions,
)
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.inputs import asks_for_gender

SIZE = (60, 40)
NAMES = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder")


def noise(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def example(*objects: Any, number: int = 7, size: tuple[int, int] = SIZE) -> vb.Example:
    worlds = {"null": {"image": vb.Picture(noise(size)), "text": "a man on a horse"}}
    return vb.Example(
        f"coco/{number}", f"coco/{number}", worlds, {"objects": objects, "size": size}
    )


def disc(size: tuple[int, int] = SIZE) -> np.ndarray[Any, Any]:
    y, x = np.mgrid[: size[1], : size[0]]
    return (x - 14) ** 2 + (y - 18) ** 2 < 81


def test_person_and_object_boxes_come_from_the_annotations() -> None:
    one = example(
        ("person", 2.0, 2.0, 12.0, 30.0, False),
        ("person", 5.0, 5.0, 5.0, 30.0, False),
        ("horse", 20.0, 2.0, 30.0, 30.0, False),
    )
    assert person_regions([one])["coco/7"].boxes == ((2.0, 2.0, 12.0, 30.0),)
    assert object_regions([one])["coco/7"].boxes == ((20.0, 2.0, 30.0, 30.0),)
    carried = with_person_regions([one])[0].worlds["null"]["image"]
    placebo = carried.region("placebo-person")
    assert placebo.pixels(SIZE).sum() == carried.region("person").pixels(SIZE).sum()
    assert not (placebo.pixels(SIZE) & carried.region("person").pixels(SIZE)).any()


def test_masks_survive_packing_and_move_as_they_are() -> None:
    mask = Mask.of(disc())
    assert np.array_equal(mask.pixels(), disc())
    region = Region("person-mask", ((5.0, 9.0, 23.0, 27.0),), mask)
    avoid = [(40.0, 0.0, 60.0, 10.0)]
    for seed in range(5):
        placebo = placebo_region(region, SIZE, seed, avoid)
        moved = placebo.pixels(SIZE)
        rows, columns = (np.flatnonzero(moved.any(axis)) for axis in (1, 0))
        shape = moved[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert np.array_equal(shape, disc()[10:27, 6:23]), "the shape is kept"
        assert not (moved & disc()).any()
        assert not moved[:10, 40:].any()
        assert placebo == placebo_region(region, SIZE, seed, avoid)


def test_a_mask_without_room_becomes_tiles_of_equal_area_or_is_absent() -> None:
    wide = np.zeros((40, 60), dtype=bool)
    wide[8:20, :56] = True
    placebo = placebo_region(Region("person-mask", mask=Mask.of(wide)), SIZE, 0)
    pixels = placebo.pixels(SIZE)
    assert pixels.sum() == wide.sum()
    assert not (pixels & wide).any()
    full = Region("person-mask", mask=Mask.of(np.ones((40, 60), dtype=bool)))
    assert placebo_region(full, SIZE, 0).absent
    assert placebo_region(Region("face"), SIZE, 0) == Region("placebo-face")


def test_regions_outside_their_photo_are_refused_with_its_id() -> None:
    one = example()
    with pytest.raises(BadData, match=r"coco/7: region .* outside the image of 60 x 40"):
        with_regions([one], given_regions("face", {"coco/7": [[50, 10, 70, 20]]}))
    with pytest.raises(BadData, match="coco/7 has no entry"):
        with_regions([one], {})
    with pytest.raises(BadData, match="is empty"):
        given_regions("face", {"coco/7": [[10, 10, 10, 20]]})
    wrong = {"coco/7": Region("person-mask", mask=Mask.of(disc((50, 40))))}
    with pytest.raises(BadData, match="50 x 40 px, the image has 60 x 40"):
        with_regions([one], wrong)


def test_photos_that_cannot_be_used_are_listed_with_the_reason() -> None:
    full = example(("person", 0.0, 0.0, 60.0, 40.0, False), number=1)
    small = example(("person", 2.0, 2.0, 12.0, 30.0, False), number=2)
    nobody = example(number=3)
    carried = with_person_regions([full, small, nobody])
    assert lacking(carried, "person") == {}
    assert lacking(carried, "placebo-person") == {
        "coco/1": "persons cover more than half of the image"
    }
    assert set(lacking(carried, "face")) == {"coco/1", "coco/2", "coco/3"}
    pixels = make_mitigation("pixel-blur")
    assert pixels.unusable(carried) == {}
    assert pixels.placebo().unusable(carried) == lacking(carried, "placebo-person")


def test_person_masks_are_read_from_polygons_and_run_lengths(tmp_path: Path) -> None:
    from pycocotools import mask as coco_mask

    packed = coco_mask.encode(np.asfortranarray(disc().astype(np.uint8)))
    packed["counts"] = packed["counts"].decode()
    square = [[30.0, 4.0, 50.0, 4.0, 50.0, 20.0, 30.0, 20.0]]
    content = {
        "images": [{"id": 7, "width": 60, "height": 40}, {"id": 8, "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "horse"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "segmentation": square},
            {"id": 2, "image_id": 7, "category_id": 1, "segmentation": packed},
            {"id": 3, "image_id": 7, "category_id": 2, "segmentation": [[0, 30, 9, 30, 9, 39]]},
        ],
    }
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(content))
    person = ("person", 5.0, 4.0, 50.0, 27.0, False)
    both = mask_regions(file, [example(person), example(number=8)])
    expected = disc()
    expected[4:20, 30:50] = True
    assert np.array_equal(both["coco/7"].pixels(SIZE), expected)
    assert both["coco/8"].is_empty
    half = mask_regions(file, [example(size=(30, 20))])["coco/7"].pixels((30, 20))
    assert abs(int(half.sum()) - expected.sum() / 4) < 12
    with pytest.raises(BadData, match="no image 9"):
        mask_regions(file, [example(number=9)])
    content["annotations"][0]["segmentation"] = []
    file.write_text(json.dumps(content))
    with pytest.raises(BadData, match="no segmentation"):
        mask_regions(file, [example()])


def test_heads_are_found_from_keypoints(tmp_path: Path) -> None:
    face = {"nose": (30, 12), "left_eye": (33, 10), "right_eye": (27, 10)}
    flat = [v for name in NAMES for v in (*face.get(name, (0, 0)), 2 if name in face else 0)]
    box = head_box(NAMES, flat, SIZE)
    assert box is not None
    assert all(box[0] < x < box[2] and box[1] < y < box[3] for x, y in face.values())
    assert box[2] - box[0] == pytest.approx(3.2 * 6)
    assert head_box(NAMES, [0] * 18, SIZE) is None
    content = {
        "images": [{"id": 7, "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(NAMES)}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": flat}],
    }
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps(content))
    assert head_regions(file, [example()])["coco/7"].boxes == (box,)
    half = head_regions(file, [example(size=(30, 20))])["coco/7"].boxes[0]
    assert half == pytest.approx([v / 2 for v in box])
    del content["categories"][0]["keypoints"]
    file.write_text(json.dumps(content))
    with pytest.raises(BadData, match="no keypoints"):
        head_regions(file, [example()])


def test_placebos_of_heads_keep_away_from_the_whole_persons() -> None:
    one = example(("person", 2.0, 2.0, 30.0, 38.0, False))
    heads = given_regions("head", {"coco/7": [[10, 2, 20, 12]]})
    persons = person_regions([one])
    for seed in range(5):
        placebo = placebo_regions([one], heads, avoid=[persons], seed=seed)["coco/7"]
        assert placebo.name == "placebo-head"
        assert placebo.pixels(SIZE).sum() == 100
        assert not (placebo.pixels(SIZE) & persons["coco/7"].pixels(SIZE)).any()


def test_any_face_detector_can_be_given_and_unknown_ones_are_refused() -> None:
    found = face_regions([example()], lambda image: [(1.0, 1.0, 9.0, 9.0)])
    assert found["coco/7"] == Region("face", ((1.0, 1.0, 9.0, 9.0),))
    with pytest.raises(BadStudy, match="facenet, opencv"):
        face_detector("haar")


@pytest.mark.parametrize("name", ["facenet", "opencv"])
def test_faces_are_found_on_photos_where_the_detector_is_installed(name: str) -> None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco-people"
    root = Path(os.environ.get("VLBIAS_COCO_PEOPLE", beside))
    library = pytest.importorskip({"facenet": "facenet_pytorch", "opencv": "cv2"}[name])
    if name == "opencv" and not hasattr(library, "CascadeClassifier"):
        pytest.skip("this OpenCV brings no cascade")
    if not (root / "images").is_dir():
        pytest.skip(f"no photos in {root}; set VLBIAS_COCO_PEOPLE")
    detect = face_detector(name)
    photos = sorted((root / "images").iterdir())[:12]
    found = {photo: detect(vb.Picture(photo).open()) for photo in photos}
    assert any(found.values())
    for photo, boxes in found.items():
        Region("face", tuple(boxes)).pixels(vb.Picture(photo).open().size)


def test_a_mask_is_filled_to_the_pixel_and_what_is_kept_is_kept() -> None:
    image, keep = noise(), Region("objects", ((10.0, 10.0, 14.0, 30.0),))
    before = np.asarray(image)
    for fill in ("blur", "mean", "black", "inpaint"):
        edit: Any = FillRegion((), fill, mask=Mask.of(disc()), keep=keep)
        after = np.asarray(edit(image))
        changed = (after != before).any(-1)
        assert not changed[~disc()].any(), fill
        assert not changed[10:30, 10:14].any(), fill
        assert changed[disc() & ~keep.pixels(SIZE)].mean() > 0.9, fill
        assert np.array_equal(np.asarray(replace(edit, strength=0.0)(image)), before)
        half = np.asarray(replace(edit, strength=0.5)(image)).astype(int)
        assert np.abs(half - (after.astype(int) + before) / 2).max() <= 1


def test_inpainting_continues_what_is_around() -> None:
    pixels = np.full((40, 60, 3), 90, dtype=np.uint8)
    pixels[10:20, 10:20] = 255
    filled = np.asarray(FillRegion(((10, 10, 20, 20),), "inpaint")(Image.fromarray(pixels)))
    assert np.abs(filled.astype(int) - 90).max() <= 5  # the hole held 255


def test_pixel_blur_is_mask_gender_as_a_mitigation(load: Callable[[str], Any]) -> None:
    model, one = load("clip"), examples(1)[0]
    ready = make_mitigation("pixel-blur", fill="black", keep="objects").fit(
        model, [one], rng=np.random.default_rng(0)
    )
    with ready.applied(model, 0.5) as mitigated:
        (row,) = mitigated.split(one.worlds["null"])["image_encoder"]
    shown = one.worlds["null"]["image"]
    kept = shown.region("objects")
    expected = FillRegion(shown.region("person").boxes, "black", 0.5, keep=kept)
    assert np.array_equal(np.asarray(row.open()), np.asarray(expected(shown.open())))


def test_texts_lose_their_gender_words_but_for_what_asks_for_gender() -> None:
    words: Any = make_mitigation("text-neutral")
    assert words.rewritten("a woman holds her dog", 1.0) == "a person holds their dog"
    assert words.rewritten("he sees her", 1.0) == "they sees them"
    assert words.rewritten("a photo of a woman", 1.0) == "a photo of a woman"
    prompts = ("a man with a dog", "a man with an umbrella", "a man with a queen bed")
    assert words.rewritten(prompts, 1.0) == (
        "a person with a dog",
        "a person with an umbrella",
        "a person with a queen bed",
    )
    grounded = GroundedText("a woman on a horse. ", ("woman", "horse"))
    assert str(words.rewritten(grounded, 1.0)) == "a person on a horse. woman. horse."
    spared: Any = make_mitigation("text-neutral", spared=["a man on a horse"])
    assert spared.rewritten("a man on a horse", 1.0) == "a man on a horse"
    assert spared.rewritten("a man on a bus", 1.0) == "a person on a bus"


def test_strength_is_the_share_of_gender_words_and_the_placebo_changes_as_many_others() -> None:
    words: Any = make_mitigation("text-neutral")
    text = "a man and his wife near the big street"
    assert words.rewritten(text, 0.34) == "a person and their wife near the big street"
    assert words.rewritten(text, 0.3) == "a person and his wife near the big street"
    control = words.placebo()
    changed = control.rewritten(text, 1.0)
    assert sum(a != b for a, b in zip(text.split(), changed.split(), strict=True)) == 3
    assert {"man", "his", "wife"} <= set(changed.split())
    with pytest.raises(BadData, match="near-synonym"):
        control.rewritten("he saw her", 1.0)
    short = [example()]
    short[0].worlds["null"]["text"] = "he saw her"  # type: ignore[index]
    assert set(control.unusable(short)) == {"coco/7"}


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("woman", True),
        ("a photo of two men", True),
        ("a woman riding a horse", False),
        ("a photo of a dog", False),
        ("a photo of a person", False),
    ],
)
def test_queries_for_gender_are_told_from_captions(text: str, asks: bool) -> None:
    assert asks_for_gender(text) is asks
