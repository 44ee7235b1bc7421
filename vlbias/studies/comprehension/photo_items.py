"""Items of photos: what a deep edit takes out or names otherwise, and surface edits of as many pixels.

    photo-objects     deep: all objects of one class are painted over, those of the largest object
    photo-image-cues  deep: the persons are painted over; other objects that are annotated stay
    photo-text-cues   deep: the text names the other group than captions do

What is asked is which object is there: the class of highest score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vlbias.causal.image_file import frame_of
from vlbias.causal.region import Box, Region, mask_of
from vlbias.data.counterfactual_images import seed_of
from vlbias.data.fill import Fill, FillRegion
from vlbias.data.prompts import GROUP_WORDS, NEUTRAL_WORD
from vlbias.data.table import Dataset
from vlbias.errors import BadData
from vlbias.studies.comprehension.image_views import ImageItem, ImageView, edit_strength
from vlbias.studies.comprehension.surfaces import Canvas, Surface, shift_amount, surface_edit

__all__ = ["PhotoItems", "photo_items"]

_PERSON = "person"
_LEAST = 0.005
"""Share of the photo that a deep edit paints, at least."""


class _LeftOut(Exception):
    """A photo that gives no item, and why."""


@dataclass(frozen=True)
class PhotoItems:
    """Makes items of the photos of a data set.

    Args:
        dataset: Photos with boxes, and groups where texts name them.
        seed: Of the choice of photos and of the edits.
        surfaces: Kinds of surface edits, one edit each; "background" if none is given.
        fill: What a deep edit and the background are painted with.
    """

    dataset: Dataset
    seed: int
    surfaces: tuple[Surface, ...]
    fill: Fill

    @property
    def choices(self) -> tuple[str, ...]:
        """All classes but that of persons."""
        return tuple(name for name in self.dataset.classes if name != _PERSON)

    def objects(self, row: Mapping[Any, Any]) -> ImageItem:
        """The item of the largest object of a photo."""
        others = [o for o in row["objects"] if o["class"] != _PERSON and o["class"] in self.choices]
        if not others:
            raise _LeftOut("no object but persons")
        largest = max(others, key=lambda o: (o["x1"] - o["x0"]) * (o["y1"] - o["y0"]))["class"]
        taken = tuple(_boxes(o for o in others if o["class"] == largest))
        return self._item(
            row, taken, _boxes(o for o in row["objects"] if o["class"] != largest), largest
        )

    def image_cue(self, row: Mapping[Any, Any]) -> ImageItem:
        """The item of the persons of a photo."""
        persons = _boxes(o for o in row["objects"] if o["class"] == _PERSON)
        if not persons:
            raise _LeftOut("no person")
        return self._item(
            row, persons, _boxes(o for o in row["objects"] if o["class"] != _PERSON), ""
        )

    def text_cue(self, row: Mapping[Any, Any]) -> ImageItem:
        """The item of the group of a photo; its image stays as it is."""
        words = {group: word for group, word in GROUP_WORDS.items() if group != row["group"]}
        if row["group"] not in GROUP_WORDS:
            raise _LeftOut("no group in the captions")
        view = ImageView(self._path(row), GROUP_WORDS[row["group"]])
        deep = replace(view, person=next(iter(words.values())))
        return self._made(row, view, deep, [replace(view, noun="picture")], "")

    def _item(
        self, row: Mapping[Any, Any], taken: tuple[Box, ...], kept: tuple[Box, ...], answer: str
    ) -> ImageItem:
        """The item in which a deep edit paints boxes over, but not what is kept inside them."""
        path = self._path(row)
        size = frame_of(path).size
        outline = mask_of(taken, size) & ~mask_of(kept, size)
        if outline.mean() < _LEAST:
            raise _LeftOut(f"less than {_LEAST:.1%} of the photo to paint")
        view = ImageView(path, NEUTRAL_WORD)
        paint = FillRegion(taken, self.fill, keep=Region("kept", kept) if kept else None)
        deep = replace(view, edits=(paint,))
        amount = 1
        if "colour" in self.surfaces:  # the photo is opened for it
            amount = shift_amount(edit_strength(view, deep), int(outline.sum()))
        canvas = Canvas(outline, outline, (*taken, *kept), amount, self.fill)
        surface = []
        for kind in self.surfaces or ("background",):
            edit = surface_edit(kind, canvas, seed_of(self.seed, f"{kind} of {row['id']}"))
            if edit is None:
                raise _LeftOut(f"no room for a surface edit of {kind}")
            surface.append(replace(view, edits=(edit,)))
        return self._made(row, view, deep, surface, answer)

    def _made(
        self,
        row: Mapping[Any, Any],
        view: ImageView,
        deep: ImageView,
        surface: Sequence[ImageView],
        answer: str,
    ) -> ImageItem:
        return ImageItem(
            row["id"], view, (deep,), tuple(surface), answer, self.choices, row["cluster"]
        )

    def _path(self, row: Mapping[Any, Any]) -> Path:
        return Path(self.dataset.image_root / row["image"])


def photo_items(
    maker: PhotoItems, task: str, count: int | None
) -> tuple[list[ImageItem], Mapping[str, int]]:
    """Items of photos in a random order, and why the others looked at give none.

    Args:
        maker: Makes items.
        task: "photo-objects", "photo-image-cues" or "photo-text-cues".
        count: How many; all that there are if None.

    Raises:
        BadData: if no photo gives an item; says why.
    """
    make = {
        "photo-objects": maker.objects,
        "photo-image-cues": maker.image_cue,
        "photo-text-cues": maker.text_cue,
    }[task]
    items: list[ImageItem] = []
    left_out: Counter[str] = Counter()
    for row in _shuffled(maker):
        if len(items) == count:
            break
        try:
            items.append(make(row))
        except _LeftOut as reason:
            left_out[str(reason)] += 1
    if not items:
        reasons = ", ".join(f"{reason} {number}" for reason, number in left_out.items())
        raise BadData(
            f"no photo gives an item of {task} ({reasons}); give other photos or surface edits"
        )
    return items, left_out


def _shuffled(maker: PhotoItems) -> Iterator[dict[Any, Any]]:
    frame = maker.dataset.frame
    for number in np.random.default_rng(maker.seed).permutation(len(frame)):
        yield frame.iloc[int(number)].to_dict()


def _boxes(objects: Iterator[Mapping[str, Any]]) -> tuple[Box, ...]:
    boxes = ((o["x0"], o["y0"], o["x1"], o["y1"]) for o in objects)
    return tuple(box for box in boxes if box[2] > box[0] and box[3] > box[1])
