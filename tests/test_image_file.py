"""Images as they are opened: upright, in eight bits, small enough, and of the table's own folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlbias.causal import image_file
from vlbias.causal.example import Picture
from vlbias.causal.image_file import Frame, frame_of, open_image
from vlbias.data.counterfactual_examples import WORLDS, make_examples
from vlbias.data.own_photos import read_own
from vlbias.data.photo_files import verify_images
from vlbias.errors import BadData

ORIENTATION = 0x0112


def shown_photo() -> np.ndarray:
    pixels = np.full((80, 60, 3), 200, np.uint8)
    pixels[20:50, 10:30] = (255, 0, 0)
    return pixels


def write_turned(path: Path, orientation: int, shown: np.ndarray | None = None) -> Path:
    """A file that is shown as that photo once its EXIF orientation is heeded."""
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others undo themselves
    image = Image.fromarray(shown_photo() if shown is None else shown)
    if back in image_file._TURNS:
        image = image.transpose(image_file._TURNS[back])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
def test_every_orientation_is_turned_once(tmp_path: Path, orientation: int, ending: str) -> None:
    path = write_turned(tmp_path / f"a.{ending}", orientation)
    opened = open_image(path)
    assert frame_of(path).size == opened.size == Picture(path).size == (60, 80)
    away = np.abs(np.asarray(opened).astype(int) - shown_photo())
    assert away.mean() <= (0 if ending in ("png", "tif") else 6)
    assert Picture(opened).open().size == opened.size, "it is not turned a second time"
    with Image.open(path) as raw:
        assert np.array_equal(np.asarray(Picture(raw).open()), np.asarray(opened))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_and_masks_on_the_photo_as_it_lies_are_turned_with_it(
    tmp_path: Path, orientation: int
) -> None:
    write_turned(tmp_path / "a.png", orientation)
    with Image.open(tmp_path / "a.png") as lying:
        red = np.asarray(lying)[..., 1] == 0
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    frame = frame_of(tmp_path / "a.png")
    assert frame.shown_box(box, frame.stored) == (10, 20, 30, 50)
    assert np.array_equal(frame.shown_pixels(red), shown_photo()[..., 1] == 0)
    assert frame.holds(frame.stored) == (orientation > 4)
    assert not frame.holds(frame.size)


def test_exif_behind_the_pixels_of_a_png_is_found(tmp_path: Path) -> None:
    content = write_turned(tmp_path / "a.png", 6).read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    before_end = content.index(b"IEND") - 4
    moved = content[:start] + content[end:before_end] + content[start:end] + content[before_end:]
    (tmp_path / "b.png").write_bytes(moved)
    assert frame_of(tmp_path / "b.png").size == open_image(tmp_path / "b.png").size == (60, 80)


def test_damaged_exif_says_nothing(tmp_path: Path) -> None:
    Image.fromarray(shown_photo()).save(tmp_path / "a.png", exif=b"Exif\0\0no TIFF at all")
    assert frame_of(tmp_path / "a.png") == Frame((60, 80))
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), shown_photo())


@pytest.mark.parametrize(
    ("more", "box"),
    [
        ({}, "10,20,30,50"),
        ({"width": 60, "height": 80}, "10,20,30,50"),
        ({"width": 80, "height": 60}, "20,30,50,50"),
        ({"width": 4000, "height": 3000}, "20,30,50,50"),
    ],
)
def test_the_person_is_blurred_in_whatever_frame_boxes_were_drawn(
    tmp_path: Path, more: dict[str, int], box: str
) -> None:
    write_turned(tmp_path / "a.png", 6)
    names, cells = "".join(f",{n}" for n in more), "".join(f",{n}" for n in more.values())
    (tmp_path / "p.csv").write_text(
        f'image,group,labels,boxes{names}\na.png,f,cup,"[[""person"",{box}]]"{cells}\n'
    )
    dataset = read_own(tmp_path / "p.csv")
    verify_images(dataset)
    worlds = {name: WORLDS[name] for name in ("null", "mask-gender")}
    (example,) = make_examples(dataset, worlds, "template-neutral", groups=["f"])
    null, masked = (np.asarray(example.worlds[w]["image"].open()) for w in worlds)
    assert null.shape == (80, 60, 3)
    changed = (null != masked).any(2)
    assert changed[20:50, 10:30].any()
    assert changed.sum() == changed[20:50, 10:30].sum()


def test_boxes_that_fit_no_frame_say_what_to_give(tmp_path: Path) -> None:
    write_turned(tmp_path / "a.png", 6)
    (tmp_path / "p.csv").write_text(
        'image,group,labels,boxes\na.png,f,cup,"[[""person"",20,30,75,50]]"\n'
    )
    with pytest.raises(BadData, match=r"row 1.*outside.*width and height"):
        read_own(tmp_path / "p.csv")


def test_sixteen_bits_and_floats_are_scaled_or_refused(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "deep.tif")
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "share.tif")
    for name in ("deep.png", "deep.tif", "share.tif"):
        pixels = np.asarray(open_image(tmp_path / name)).astype(float)
        assert np.abs(pixels[..., 0] - ramp / 257).max() <= 1, name
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "large.tif")
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tif")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "whole.tif")
    for name in ("large.tif", "nan.tif", "whole.tif"):
        with pytest.raises(BadData, match=rf"{name}.*8 bits"):
            open_image(tmp_path / name)
    one, two = (Picture(Image.fromarray((ramp * f).astype(np.uint16))) for f in (0.5, 0.6))
    assert one.key != two.key


def test_large_images_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side, name in ((10000, "large.png"), (20000, "bomb.png")):
        Image.new("1", (side, 10000)).save(tmp_path / name)
        with pytest.raises(BadData, match=f"{name}.*89,478,485"):
            Picture(tmp_path / name).open()
    monkeypatch.setattr(image_file, "MOST_PIXELS", 100)
    Image.new("L", (11, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(BadData, match="11 x 10 px"):
        frame_of(tmp_path / "a.png")


def test_pipes_and_folders_are_refused_and_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", Path("/dev/zero")):
        with pytest.raises(BadData, match="a folder, a pipe or a device"):
            open_image(path)
    for name in ("a\0b.png", "x" * 300 + ".png"):
        with pytest.raises(BadData, match="cannot be read"):
            open_image(tmp_path / name)
    with pytest.raises(BadData, match="not found"):
        open_image(tmp_path / "gone.png")


@pytest.mark.parametrize("way", ["absolute", "above", "link"])
def test_paths_that_leave_the_folder_need_a_word(tmp_path: Path, way: str) -> None:
    table = tmp_path / "table"
    table.mkdir()
    Image.fromarray(shown_photo()).save(tmp_path / "private.png")
    name = {"absolute": str(tmp_path / "private.png"), "above": "../private.png", "link": "a.png"}[
        way
    ]
    if way == "link":
        (table / "a.png").symlink_to(tmp_path / "private.png")
    (table / "p.csv").write_text(f"image,group,labels\n{name},f,cup\n")
    with pytest.raises(BadData, match="images_anywhere"):
        read_own(table / "p.csv")
    assert len(read_own(table / "p.csv", images_anywhere=True).frame) == 1
