"""Image files: the one place where they are opened, shown upright and in eight bits a colour."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from vlbias.errors import BadData
from vlbias.files import stamp

__all__ = ["MOST_PIXELS", "Frame", "frame_of", "open_image", "refuse_outside", "upright"]

MOST_PIXELS = 89_478_485
"""Images of more pixels are refused before they are decoded; Pillow warns of bombs from here on."""

_Box = tuple[float, float, float, float]
_Turn = Image.Transpose
_ORIENTATION = 0x0112
_TURNS = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
"""EXIF orientation to what shows the photo upright."""
_SIDEWAYS = (5, 6, 7, 8)
# what Pillow's readers raise on files that are not what they say
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """How a photo lies in its file.

    Args:
        stored: Width and height of the pixels in the file.
        orientation: As EXIF counts, 1 to 8; 1 is upright.
    """

    stored: tuple[int, int]
    orientation: int = 1

    @property
    def is_sideways(self) -> bool:
        """Whether width and height change places when the photo is shown."""
        return self.orientation in _SIDEWAYS

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        return self.stored[::-1] if self.is_sideways else self.stored

    def holds(self, size: tuple[int, int]) -> bool:
        """Whether annotations of this size were drawn on the photo as it lies, not as it is shown.

        Only a photo on its side can be told by its size, and only if it is no square.
        """
        (width, height), (w, h) = self.stored, size
        return self.is_sideways and width != height and (w > h) == (width > height) and w != h

    def shown_box(self, box: _Box, size: tuple[int, int]) -> _Box:
        """A box drawn on the photo as it lies, at a scale of that size, on the photo as it is shown."""
        (x0, y0), (x1, y1) = (self._shown(box[i], box[i + 1], size) for i in (0, 2))
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    def _shown(self, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
        width, height = size
        if self.orientation in (2, 3, 7, 8):
            x = width - x
        if self.orientation in (3, 4, 6, 7):
            y = height - y
        return (y, x) if self.is_sideways else (x, y)

    def shown_pixels(self, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask [height, width] of the photo as it lies, as it is shown."""
        if self.orientation not in _TURNS:
            return pixels
        image = Image.fromarray(pixels.astype(np.uint8)).transpose(_TURNS[self.orientation])
        return np.asarray(image).astype(bool)


def open_image(path: Path) -> Image.Image:
    """The image of a file in RGB, turned as its EXIF orientation says.

    Raises:
        BadData: if the file is missing, no image, too large, or its pixels have no known scale; names it.
    """
    with _opened(path) as image:
        image.load()
        return upright(image, str(path))


def frame_of(path: Path) -> Frame:
    """How the photo of a file lies in it; only its head is read, and once while it does not change.

    Raises:
        BadData: as `open_image`, but for what only the pixels tell.
    """
    now = stamp(path)
    return _frame_at(path, now) if now else _frame_of(path)


@lru_cache(maxsize=1 << 18)
def _frame_at(path: Path, now: str) -> Frame:
    return _frame_of(path)


def _frame_of(path: Path) -> Frame:
    with _opened(path) as image:
        # TIFF: Pillow's size is that of the stored or of the shown photo, depending on its version
        tags = getattr(image, "tag_v2", None)
        if tags is not None:
            return Frame((tags[256], tags[257]), _known(tags.get(274)))
        return Frame(image.size, _orientation(image, path))


def upright(image: Image.Image, name: str) -> Image.Image:
    """An image in RGB with eight bits a colour, turned as its EXIF orientation says.

    Sixteen bits are scaled to eight, and floats from 0..1; without a turn or another depth the pixels
    are those that Pillow gives.

    Raises:
        BadData: if its pixels are of another scale; says so of `name`.
    """
    image.load()
    turn = _TURNS.get(_orientation(image))
    shown = _eight_bits(image, name).convert("RGB")
    if turn is None:
        return shown
    turned = shown.transpose(turn)
    turned.info = {}  # the orientation is used up
    return turned


def refuse_outside(root: Path, names: list[str]) -> None:
    """Nothing, if all paths stay in a folder; links count as where they lead.

    Raises:
        BadData: names those that leave it.
    """
    base = root.resolve()
    outside = [name for name in names if not _is_inside(base, name)]
    if outside:
        raise BadData(
            f"{len(outside)} image paths leave the folder {root}: {', '.join(outside[:5])}; put the photos "
            "into it, or allow it with images_anywhere = true under [dataset] of the study (an option of the "
            "reader too)"
        )


def _is_inside(base: Path, name: str) -> bool:
    try:
        return (base / name).resolve().is_relative_to(base)
    except (OSError, ValueError, RuntimeError):  # names that no file can have; a ring of links
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadData(f"image file cannot be read: {path} is a folder, a pipe or a device")
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise BadData(_too_large(path, f"{width} x {height} px"))
            yield image
    except FileNotFoundError as error:
        raise BadData(
            f"image file not found: {path}; check the image folder of the dataset"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadData(_too_large(path, str(error))) from error
    except _BROKEN as error:
        raise BadData(f"image file cannot be read: {path} ({error}); fetch it again") from error


def _too_large(path: Path, found: str) -> str:
    return (
        f"image file is too large: {path} ({found}; at most {MOST_PIXELS:,} pixels are opened); save it "
        "smaller"
    )


def _known(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def _orientation(image: Image.Image, path: Path | None = None) -> int:
    """From the head of a file where a path is given, so that nothing is decoded."""
    try:
        if isinstance(image, PngImagePlugin.PngImageFile) and path and not _late_notes(path):
            exif = Image.Image.getexif(image)  # PNG's own would decode the photo first
        else:
            exif = image.getexif()
        return _known(exif.get(_ORIENTATION))
    except _BROKEN:
        return 1  # damaged EXIF says nothing


def _late_notes(path: Path) -> bool:
    """Whether a PNG keeps notes behind its pixels, where EXIF may be too."""
    behind = False
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if behind and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            behind = behind or kind == b"IDAT"
            file.seek(length + 4, 1)
    return False


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        shares = np.asarray(image).astype(np.float64) / 65535
    elif image.mode == "F":
        shares = np.asarray(image).astype(np.float64)
    elif image.mode == "I":
        raise BadData(
            f"image {name} has whole numbers of 32 bits, whose scale is not known: {_ADVICE}"
        )
    else:
        return image
    if not ((shares >= 0) & (shares <= 1)).all():
        raise BadData(f"image {name} has numbers outside of 0 to 1 as pixels: {_ADVICE}")
    return Image.fromarray(np.rint(shares * 255).astype(np.uint8))


_ADVICE = "save it with 8 bits a colour"
