"""Hints: linear maps that read from a vision tower what is drawn, dropped after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from planted.plants import Shown
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vlbias.data.pictograms import OBJECTS
from vlbias.data.scenes import SIDE

__all__ = ["HINTS", "PATCH", "Hints", "pixels_of"]

PATCH = 8
HINTS: Mapping[str, float] = {"patches": 3.0, "scene": 1.0}
"""Weights of their losses."""
DRAWN = (*OBJECTS, "masculine", "feminine", "neutral", "crate")
TOLD = len(OBJECTS) + 2  # of these the pooled output tells: objects, and how the person is shown


class Hints(nn.ModuleDict):
    """Tells from each patch what is drawn there, and from the pooled output what is in sight.

    Without them so few scenes teach a transformer little.

    Args:
        width: Of the tower.
    """

    def __init__(self, width: int) -> None:
        super().__init__({"patches": nn.Linear(width, len(DRAWN)), "scene": nn.Linear(width, TOLD)})

    def losses(self, states: Tensor, pooled: Tensor, shown: Sequence[Shown]) -> dict[str, Tensor]:
        """Cross-entropy of each hint.

        Args:
            states: Of the patches, [scenes, patches, width].
            pooled: Of the scenes, [scenes, width].
            shown: The scenes.
        """
        drawn = torch.stack([drawn_in(each) for each in shown])  # [scenes, patches, kinds]
        told = {"patches": (states, drawn), "scene": (pooled, drawn[..., :TOLD].amax(1))}
        return {
            name: binary_cross_entropy_with_logits(self[name](given), target)
            for name, (given, target) in told.items()
        }


def drawn_in(shown: Shown) -> Tensor:
    """Which of `DRAWN` covers a quarter of which patch or more, [patches, kinds]."""
    side = SIDE // PATCH
    found = np.zeros((side, side, len(DRAWN)), np.float32)
    scene = shown.scene
    boxes = [(t.name, t.box) for t in scene.things if not t.hidden]
    boxes += [("crate", box) for box in scene.crates] + [(shown.visible, scene.person)]
    edges = np.arange(side) * PATCH
    for name, (x0, y0, x1, y1) in boxes:
        across = np.clip(np.minimum(x1, edges + PATCH) - np.maximum(x0, edges), 0, None)
        down = np.clip(np.minimum(y1, edges + PATCH) - np.maximum(y0, edges), 0, None)
        covered = np.outer(down, across) >= PATCH**2 / 4
        found[..., DRAWN.index(name)] = np.maximum(found[..., DRAWN.index(name)], covered)
    return torch.from_numpy(found).flatten(0, 1)


def pixels_of(shown: Sequence[Shown]) -> Tensor:
    """Pixels [n, 3, 64, 64] from -1 to 1, as both image processors make them."""
    stack = np.stack([np.asarray(each.image) for each in shown])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1
