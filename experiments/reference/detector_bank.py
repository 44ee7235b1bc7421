"""Feature maps of the frozen backbone for all views of all photos, kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference.detector_loss import Truth
from reference.photos import Photo, decode
from reference.views import View, scene_view
from torch import Tensor

__all__ = ["FeatureFile", "plan_scenes", "truth_in"]

LEAST_INSIDE = 0.4  # share of a box that a view must show for the box to count


def plan_scenes(
    sizes: Sequence[tuple[int, int]], count: int, rng: np.random.Generator
) -> list[list[View]]:
    """For each photo (height, width) the whole of it, its mirror image and further crops.

    Args:
        sizes: Height and width of each file.
        count: Views of each photo, 1 for the whole photo alone.
        rng: Source of all draws.
    """
    plan = []
    for h, w in sizes:
        views = [View(0, 0, w, h, False), View(0, 0, w, h, True)]
        plan.append([*views, *(scene_view(h, w, rng) for _ in range(count - 2))][:count])
    return plan


def truth_in(photo: Photo, view: View) -> Truth:
    """The boxes that a view shows, cut off at its border, relative to it."""
    width, height = view.right - view.left, view.bottom - view.top
    low = np.array([view.left, view.top], np.float32)
    corners = photo.boxes.reshape(-1, 2, 2) - low
    cut = corners.clip(0, np.array([width, height], np.float32))
    area = [np.prod(each[:, 1] - each[:, 0], axis=1) for each in (corners, cut)]
    kept = (area[1] > 0) & (area[1] >= LEAST_INSIDE * area[0])
    cut = cut[kept] / np.array([width, height], np.float32)
    if view.mirrored:
        cut[:, :, 0] = 1 - cut[:, ::-1, 0]
    boxes = np.concatenate([cut.mean(1), cut[:, 1] - cut[:, 0]], axis=1)
    return Truth(torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(photo.classes[kept]))


class FeatureFile:
    """Features [photos, views, taps, width, side, side] in float16, made once and continued.

    Args:
        path: Of the file; how far it is filled stands beside it.
        shape: Its shape.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self._done = path, path.with_suffix(".done")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.is_file() or np.load(path, mmap_mode="r").shape != shape
        if fresh:
            self._done.unlink(missing_ok=True)
        mode: Any = "w+" if fresh else "r+"
        self.array = np.lib.format.open_memmap(path, mode, np.float16, shape)

    @property
    def done(self) -> int:
        """How many photos are in the file."""
        return int(self._done.read_text()) if self._done.is_file() else 0

    def fill(
        self,
        backbone: Any,
        photos: Sequence[Photo],
        plan: Sequence[Sequence[View]],
        side: int,
        report: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Run the views of all photos that are not there yet through the backbone."""
        device = next(backbone.parameters()).device
        for number in range(self.done, len(photos)):
            image = decode(photos[number])
            pixels = torch.stack([view.pixels(image, side) for view in plan[number]]).to(device)
            with torch.inference_mode():
                maps = backbone(pixels).feature_maps
            self.array[number] = torch.stack(maps, 1).half().cpu().numpy()
            self._done.write_text(str(number + 1))
            report(number + 1)
        self.array.flush()

    def rows(self, photos: np.ndarray, views: np.ndarray) -> Tensor:
        """The features of some photos, one view each, [rows, taps, width, side, side]."""
        return torch.from_numpy(
            np.stack([self.array[i, v] for i, v in zip(photos, views, strict=True)])
        )
