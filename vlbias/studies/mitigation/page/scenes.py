"""Rendered scenes on the page of a run of mitigations: where features changed, scene by scene."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from vlbias.data.table import Dataset
from vlbias.data.world import World
from vlbias.errors import BadTable
from vlbias.report.blocks import Block
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.figures import token_grid
from vlbias.studies.mitigation.results import Conditions
from vlbias.studies.photos.example_photos import dataset_of
from vlbias.studies.photos.example_scenes import (
    Shown,
    gallery,
    scene_example,
    scene_image,
    with_boxes,
)

__all__ = ["changed_scenes"]


def changed_scenes(run: Run) -> Block:
    """The first scenes of a run under a map of how much each token moves, a picture a condition.

    Returns:
        The block; one that says why, where the scenes are not there any more.
    """
    try:
        dataset = dataset_of(run)
    except BadTable as error:
        return Block("Example scenes", f"Not shown: {error}")
    shown: list[Shown] = []
    for condition, photos in Conditions(run).photo_maps().items():
        for sample, share in photos.items():
            grid = token_grid(share)
            if grid is not None and grid.max() > 0:
                said = f"{sample}, {condition}: at most {grid.max():.0%}"
                shown.append((_overlaid(_scene(run, dataset, sample), grid), said))
    text = (
        "By which share of its length each token of the image encoder's last block moves, from dark (not "
        "at all) to yellow (most), over the scene. Methods that change no token there are left out."
    )
    pictures = gallery(shown) or "<p>No method changed a token.</p>"
    return Block("Where features changed, scene by scene", text, gallery=pictures)


def _scene(run: Run, dataset: Dataset, sample: str) -> Image.Image:
    seed = run.manifest["study"]["seed"]
    example = scene_example(dataset, sample, {"null": World()}, seed)
    return with_boxes(scene_image(example, "null"), dataset, sample)


def _overlaid(image: Image.Image, grid: NDArray[np.float64]) -> Image.Image:
    colours = colormaps["inferno"](grid / grid.max())[..., :3]
    heat = Image.fromarray((colours * 255).astype(np.uint8)).resize(
        image.size, Image.Resampling.BILINEAR
    )
    return Image.blend(image, heat, 0.55)
