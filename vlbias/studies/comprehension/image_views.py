"""Items of images: a scene or photo as it is asked about, and its edits with their size and strength."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlbias.causal.example import ImageEdit, Picture
from vlbias.data.prompts import Prompt, set_word
from vlbias.data.scenes import Scene
from vlbias.data.surface_edits import edited_area
from vlbias.errors import BadData, BadStudy
from vlbias.studies.comprehension.items import word_distance

__all__ = [
    "ImageItem",
    "ImageQuestion",
    "ImageView",
    "Rendered",
    "edit_size",
    "edit_strength",
    "refuse_same_views",
]


@dataclass(frozen=True)
class Rendered:
    """A scene, and how its person is shown."""

    scene: Scene
    shown: str

    def image(self) -> Image.Image:
        """The image in RGB."""
        return self.scene.render(self.shown)


@dataclass(frozen=True)
class ImageView:
    """An image as it is shown and asked about.

    Args:
        source: A rendered scene, or the file of a photo.
        person: What the text calls the person.
        noun: What it calls the image.
        edits: Of the image, in order.
    """

    source: Rendered | Path
    person: str
    noun: str = "photo"
    edits: tuple[ImageEdit, ...] = ()

    def picture(self) -> Picture:
        """The image with its edits."""
        source = self.source.image() if isinstance(self.source, Rendered) else self.source
        return Picture(source, self.edits)

    def inputs(self, prompt: Prompt, classes: Sequence[str]) -> Mapping[str, Any]:
        """What a model takes, with a text as it was trained on."""
        frame = prompt.frame(()).replace("photo", self.noun)
        text = prompt.fill(set_word(frame, "{person}", self.person), tuple(classes))
        return {"image": self.picture(), "text": text}


@dataclass(frozen=True)
class ImageQuestion:
    """What a subject is asked: which of the choices is in sight.

    Args:
        view: The image and its text.
        choices: Classes.
    """

    view: ImageView
    choices: tuple[str, ...]


@dataclass(frozen=True)
class ImageItem:
    """One item; see `vlbias.studies.comprehension.items.Item`, with views in place of texts.

    Args:
        id: Unique and stable.
        original: The view as it is asked about.
        deep: Views with another meaning.
        surface: Views with as large a change of anything else.
        answer: The object in sight; empty where no answer is right.
        choices: Classes, one of which is the answer.
        cluster: What is resampled together; the item alone if not given.
    """

    id: str
    original: ImageView
    deep: tuple[ImageView, ...]
    surface: tuple[ImageView, ...]
    answer: str
    choices: tuple[str, ...]
    cluster: str = ""

    def worlds(self) -> Iterator[tuple[str, int, ImageView]]:
        """World, number of the variant, and view."""
        yield "original", 0, self.original
        for world, views in (("deep", self.deep), ("surface", self.surface)):
            for number, view in enumerate(views):
                yield world, number, view

    @property
    def key(self) -> str:
        """All of it but where photos lie; the key of a cell has their hash."""
        source = self.original.source
        return (
            repr(self).replace(repr(source), source.name)
            if isinstance(source, Path)
            else repr(self)
        )

    @property
    def said(self) -> str:
        """What the original is, for the table of samples."""
        source = self.original.source
        return source.name if isinstance(source, Path) else f"scene {source.scene.number}"

    def question(self, view: ImageView) -> ImageQuestion:
        """What is asked with a view."""
        return ImageQuestion(view, self.choices)

    def size(self, view: ImageView) -> float:
        """See `edit_size`."""
        return edit_size(self.original, view)

    def strength(self, view: ImageView) -> float:
        """See `edit_strength`."""
        return edit_strength(self.original, view)


def edit_size(original: ImageView, view: ImageView) -> float:
    """Pixels of a view that are repainted or gone, and words of its text that differ."""
    words = word_distance(*(f"{one.noun} {one.person}" for one in (original, view)))
    drawn = 0
    if view.source != original.source:
        sources = (original.source, view.source)
        mine, yours = (np.asarray(s.image()) for s in sources if isinstance(s, Rendered))
        drawn = int((mine != yours).any(axis=2).sum())
    size = view.picture().size
    return words + drawn + sum(edited_area(edit, size) for edit in view.edits)


def edit_strength(original: ImageView, view: ImageView) -> float:
    """Sum of what pixels of a view differ by, in pixels that turn from black to white."""
    mine, yours = (np.asarray(one.picture().open()).astype(float) for one in (original, view))
    return float(np.abs(mine - yours).sum() / (3 * 255))


def refuse_same_views(items: Sequence[ImageItem], prompt: Prompt) -> None:
    """Nothing, if edits change what a model is given.

    Raises:
        BadData: names the item, if an edit of an image changes no pixel that is asked about.
        BadStudy: if the prompt has no place for what edits of the text change.
    """
    for item in items:
        for world, number, view in item.worlds():
            if world == "original":
                continue
            if (view.source, view.edits) != (item.original.source, item.original.edits):
                if not item.size(view):
                    raise BadData(
                        f"item {item.id!r}: {world} edit {number} equals the original; an edit must change "
                        "the image"
                    )
                continue
            said = [one.inputs(prompt, item.choices)["text"] for one in (item.original, view)]
            if said[0] == said[1]:
                raise BadStudy(
                    "prompt",
                    prompt.name,
                    'one with {person} and the word "photo", in which the edits of this task stand',
                )
