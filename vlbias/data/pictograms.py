"""Pictures of rendered scenes: a person, everyday objects, crates, all of a few strokes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from PIL import ImageDraw

from vlbias.causal.region import PixelBox

__all__ = ["OBJECTS", "draw_crate", "draw_object", "draw_person"]

Colour = tuple[int, int, int]
_Pen = ImageDraw.ImageDraw
_At = Callable[[float, float], tuple[float, float]]
"""A point of the unit square to pixels."""


def _handbag(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.arc([at(0.2, 0), at(0.8, 0.9)], 180, 360, fill=colour, width=2)
    pen.rectangle([at(0.05, 0.45), at(0.95, 1)], fill=colour)


def _umbrella(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.pieslice([at(0, 0), at(1, 1)], 180, 360, fill=colour)
    pen.line([at(0.5, 0.5), at(0.5, 1)], fill=colour, width=1)
    pen.line([at(0.5, 1), at(0.75, 1)], fill=colour, width=1)


def _vase(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.polygon(
        [at(0.3, 0.3), at(0.7, 0.3), at(0.9, 0.65), at(0.7, 1), at(0.3, 1), at(0.1, 0.65)], colour
    )
    pen.line([at(0.5, 0.3), at(0.5, 0)], fill=(60, 150, 60), width=1)
    pen.ellipse([at(0.35, 0), at(0.65, 0.2)], fill=(230, 80, 120))


def _wine_glass(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.pieslice([at(0.15, -0.55), at(0.85, 0.55)], 0, 180, fill=colour)
    pen.line([at(0.5, 0.5), at(0.5, 1)], fill=colour, width=1)
    pen.line([at(0.2, 1), at(0.8, 1)], fill=colour, width=1)


def _teddy_bear(pen: _Pen, at: _At, colour: Colour) -> None:
    for x in (0.1, 0.6):
        pen.ellipse([at(x, 0), at(x + 0.3, 0.3)], fill=colour)
    pen.ellipse([at(0.2, 0.1), at(0.8, 0.6)], fill=colour)
    pen.ellipse([at(0.1, 0.5), at(0.9, 1)], fill=colour)
    pen.point([at(0.4, 0.3), at(0.6, 0.3)], fill=(0, 0, 0))


def _tie(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.polygon([at(0.35, 0), at(0.65, 0), at(0.55, 0.2), at(0.45, 0.2)], colour)
    pen.polygon([at(0.45, 0.2), at(0.55, 0.2), at(0.75, 0.8), at(0.5, 1), at(0.25, 0.8)], colour)


def _skateboard(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.rounded_rectangle([at(0, 0.35), at(1, 0.6)], 2, fill=colour)
    for x in (0.1, 0.65):
        pen.ellipse([at(x, 0.65), at(x + 0.25, 0.95)], fill=(30, 30, 30))


def _sports_ball(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.ellipse([at(0.05, 0.05), at(0.95, 0.95)], fill=colour, outline=(40, 40, 40))
    pen.line([at(0.1, 0.5), at(0.9, 0.5)], fill=(40, 40, 40), width=1)
    pen.line([at(0.5, 0.1), at(0.5, 0.9)], fill=(40, 40, 40), width=1)


def _baseball_bat(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.line([at(0, 1), at(0.5, 0.5)], fill=colour, width=1)
    pen.line([at(0.45, 0.55), at(0.95, 0.05)], fill=colour, width=3)


def _laptop(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.rectangle([at(0.15, 0.1), at(0.85, 0.65)], fill=(40, 40, 50))
    pen.rectangle([at(0.25, 0.2), at(0.75, 0.55)], fill=(150, 220, 240))
    pen.polygon([at(0.15, 0.7), at(0.85, 0.7), at(1, 0.95), at(0, 0.95)], colour)


def _cup(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.arc([at(0.5, 0.3), at(1, 0.8)], 270, 90, fill=colour, width=2)
    pen.rectangle([at(0.1, 0.15), at(0.7, 0.95)], fill=colour)


def _clock(pen: _Pen, at: _At, colour: Colour) -> None:
    pen.ellipse([at(0, 0), at(1, 1)], fill=(245, 245, 240), outline=colour, width=2)
    pen.line([at(0.5, 0.5), at(0.5, 0.2)], fill=(20, 20, 20), width=1)
    pen.line([at(0.5, 0.5), at(0.75, 0.6)], fill=(20, 20, 20), width=1)


OBJECTS: Mapping[str, tuple[Callable[[_Pen, _At, Colour], None], Colour]] = MappingProxyType(
    {
        "handbag": (_handbag, (150, 40, 90)),
        "umbrella": (_umbrella, (120, 60, 170)),
        "vase": (_vase, (60, 120, 160)),
        "wine glass": (_wine_glass, (150, 20, 40)),
        "teddy bear": (_teddy_bear, (165, 110, 60)),
        "tie": (_tie, (30, 60, 140)),
        "skateboard": (_skateboard, (220, 150, 40)),
        "sports ball": (_sports_ball, (235, 235, 235)),
        "baseball bat": (_baseball_bat, (200, 160, 100)),
        "laptop": (_laptop, (150, 150, 155)),
        "cup": (_cup, (200, 60, 40)),
        "clock": (_clock, (70, 70, 70)),
    }
)
"""COCO name of an object to how it is drawn and its usual colour."""


def draw_object(pen: _Pen, name: str, box: PixelBox, shift: Colour) -> None:
    """An object inside its box, its usual colour shifted."""
    draw, usual = OBJECTS[name]
    red, green, blue = (max(0, min(255, u + s)) for u, s in zip(usual, shift, strict=True))
    draw(pen, _scale(box), (red, green, blue))


def draw_crate(pen: _Pen, box: PixelBox) -> None:
    """A crate that hides whatever is behind it."""
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1
    pen.rectangle((x0, y0, x1, y1), fill=(125, 95, 65), outline=(80, 60, 40), width=1)
    pen.line((x0, y0, x1, y1), fill=(80, 60, 40), width=1)


def draw_person(
    pen: _Pen, box: PixelBox, shown: str, skin: Colour, hair: Colour, clothes: Colour
) -> None:
    """A standing person; only hair and garment depend on what is shown.

    Args:
        pen: Of the image.
        box: All of the person is inside.
        shown: "masculine" (short hair, trousers), "feminine" (long hair, skirt), or "neutral".
        skin: Of head and hands.
        hair: Its colour.
        clothes: Of the garment; the same whatever is shown.
    """
    at = _scale(box)
    if shown == "feminine":
        pen.rounded_rectangle([at(0.18, 0.02), at(0.82, 0.42)], 3, fill=hair)
    pen.rectangle([at(0, 0.32), at(1, 0.38)], fill=skin)
    pen.rectangle([at(0.25, 0.3), at(0.75, 0.6)], fill=clothes)
    pen.ellipse([at(0.25, 0.03), at(0.75, 0.27)], fill=skin)
    if shown == "masculine":
        pen.chord([at(0.25, 0), at(0.75, 0.27)], 190, 350, fill=hair)
        for x in (0.15, 0.58):
            pen.rectangle([at(x, 0.58), at(x + 0.27, 1)], fill=clothes)
    elif shown == "feminine":
        pen.chord([at(0.22, 0), at(0.78, 0.22)], 180, 360, fill=hair)
        pen.polygon([at(0.3, 0.5), at(0.7, 0.5), at(1, 0.86), at(0, 0.86)], fill=clothes)
        for x in (0.28, 0.62):
            pen.rectangle([at(x, 0.86), at(x + 0.1, 1)], fill=skin)
    else:
        pen.rectangle([at(0.25, 0.55), at(0.75, 1)], fill=clothes)


def _scale(box: PixelBox) -> _At:
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1
    return lambda x, y: (x0 + min(max(x, 0), 1) * (x1 - x0), y0 + min(max(y, -0.6), 1) * (y1 - y0))
