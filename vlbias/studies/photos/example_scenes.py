"""Rendered scenes on a page: always shown, as they are nobody's; boxes, masks, where features changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlbias.causal.example import Example
from vlbias.data.table import Dataset
from vlbias.data.world_examples import World, make_examples
from vlbias.errors import BadTable
from vlbias.report.blocks import Block
from vlbias.report.pictures import pictured
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.figures import token_grid
from vlbias.studies.mitigation.stored import Conditions
from vlbias.studies.photos.example_photos import dataset_of, false_positives
from vlbias.studies.photos.scores import Numbers

__all__ = ["is_rendered", "scenes_of"]

_SCENES = 4
_SCALE = 3
_PERSON, _OBJECT = "#f6ad55", "#2b6cb0"
_Shown = tuple[Image.Image, str]


def is_rendered(run: Run) -> bool:
    """Whether a run's photos are rendered scenes."""
    return bool(run.manifest["study"]["dataset"]["name"] == "scenes")


def scenes_of(run: Run) -> Block:
    """Some scenes of a run: with boxes and in their worlds, or where a mitigation changed features.

    Args:
        run: On rendered scenes.


    Returns:
        The block; one that says why, where the scenes are not there any more.
    """
    try:
        dataset = dataset_of(run)
    except BadTable as error:
        return Block("Example scenes", f"Not shown: {error}")
    if run.manifest.get("kind") == "mitigation":
        return _changed(run, dataset)
    found = list(false_positives(Numbers(run), set(dataset.frame["id"]), _SCENES))
    worlds = {
        name: World(**world)
        for name, world in run.manifest["study"]["worlds"].items()
        if name in ("null", "mask-gender", "placebo-image")
    }
    shown: list[_Shown] = []
    for sample, said in found:
        example = _example(dataset, sample, worlds, run.manifest["study"]["seed"])
        shown.append((_with_boxes(_image(example, "null"), dataset, sample), f"{sample}: {said}"))
        shown += [
            (_image(example, name), name)
            for name in worlds
            if name in example.worlds and name != "null"
        ]
    text = (
        "For each of the objects with the largest gaps, the scene without it on which the model was most "
        "sure of it: with boxes (orange: person, blue: objects, those behind crates too), with the person "
        "masked, and with the placebo's mask. Chosen by score, not as typical."
    )
    return Block("False positives on scenes", text, gallery=_gallery(shown))


def _changed(run: Run, dataset: Dataset) -> Block:
    shown: list[_Shown] = []
    for condition, photos in Conditions(run).photo_maps().items():
        grids = {sample: token_grid(share) for sample, share in photos.items()}
        for sample, grid in grids.items():
            if grid is not None and grid.max() > 0:
                example = _example(
                    dataset, sample, {"null": World()}, run.manifest["study"]["seed"]
                )
                image = _with_boxes(_image(example, "null"), dataset, sample)
                shown.append(
                    (_overlaid(image, grid), f"{sample}, {condition}: at most {grid.max():.0%}")
                )
    text = (
        "By which share of its length each token of the image encoder's last block moves, from dark (not "
        "at all) to yellow (most), over the scene. Methods that change no token there are left out."
    )
    gallery = _gallery(shown) or "<p>No method changed a token.</p>"
    return Block("Where features changed, scene by scene", text, gallery=gallery)


def _example(dataset: Dataset, sample: str, worlds: Mapping[str, World], seed: int) -> Example:
    frame = dataset.frame[dataset.frame["id"] == sample]
    only = Dataset(frame, dataset.image_root, dataset.classes, dataset.meta, dataset.content_hash)
    row = frame.iloc[0]
    return make_examples(only, worlds, splits=(row["split"],), groups=(row["group"],), seed=seed)[0]


def _image(example: Example, world: str) -> Image.Image:
    image: Image.Image = example.worlds[world]["image"].open()
    return image.resize((image.width * _SCALE, image.height * _SCALE), Image.Resampling.NEAREST)


def _with_boxes(image: Image.Image, dataset: Dataset, sample: str) -> Image.Image:
    pen = ImageDraw.Draw(image)
    row = dataset.frame[dataset.frame["id"] == sample].iloc[0]
    for box in row["objects"]:
        corners = [box[side] * _SCALE for side in ("x0", "y0", "x1", "y1")]
        pen.rectangle(corners, outline=_PERSON if box["class"] == "person" else _OBJECT, width=2)
    return image


def _overlaid(image: Image.Image, grid: NDArray[np.float64]) -> Image.Image:
    colours = colormaps["inferno"](grid / grid.max())[..., :3]
    heat = Image.fromarray((colours * 255).astype(np.uint8)).resize(
        image.size, Image.Resampling.BILINEAR
    )
    return Image.blend(image, heat, 0.55)


def _gallery(shown: Sequence[_Shown]) -> str:
    return "".join(pictured(image, said) for image, said in shown)
