"""Rendered scenes on a page: always shown, as they are nobody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from vlbias.causal.example import Example
from vlbias.data.counterfactual_examples import make_examples
from vlbias.data.table import Dataset
from vlbias.data.world import World
from vlbias.report.pictures import pictured
from vlbias.store.run_folder import Run

__all__ = ["Shown", "gallery", "is_rendered", "scene_example", "scene_image", "with_boxes"]

_SCALE = 3
_PERSON, _OBJECT = "#f6ad55", "#2b6cb0"
Shown = tuple[Image.Image, str]
"""A picture and what is said below it."""


def is_rendered(run: Run) -> bool:
    """Whether a run's photos are rendered scenes."""
    return bool(run.manifest["study"]["dataset"]["name"] == "scenes")


def scene_example(dataset: Dataset, sample: str, worlds: Mapping[str, World], seed: int) -> Example:
    """A scene in some worlds, as the run had it."""
    frame = dataset.frame[dataset.frame["id"] == sample]
    only = Dataset(frame, dataset.image_root, dataset.classes, dataset.meta, dataset.content_hash)
    row = frame.iloc[0]
    return make_examples(only, worlds, splits=(row["split"],), groups=(row["group"],), seed=seed)[0]


def scene_image(example: Example, world: str) -> Image.Image:
    """A scene in a world, enlarged."""
    image: Image.Image = example.worlds[world]["image"].open()
    return image.resize((image.width * _SCALE, image.height * _SCALE), Image.Resampling.NEAREST)


def with_boxes(image: Image.Image, dataset: Dataset, sample: str) -> Image.Image:
    """A scene with its boxes: orange persons, blue objects, those behind crates too."""
    pen = ImageDraw.Draw(image)
    row = dataset.frame[dataset.frame["id"] == sample].iloc[0]
    for box in row["objects"]:
        corners = [box[side] * _SCALE for side in ("x0", "y0", "x1", "y1")]
        pen.rectangle(corners, outline=_PERSON if box["class"] == "person" else _OBJECT, width=2)
    return image


def gallery(shown: Sequence[Shown]) -> str:
    """HTML of pictures with a sentence each."""
    return "".join(pictured(image, said) for image, said in shown)
