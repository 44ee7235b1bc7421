"""What a planted detector is trained on first: to see, before it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from planted.hints import HINTS, Hints, pixels_of
from planted.plants import HELD_OUT, Shown, show
from reference.loop import Loop
from torch import Tensor

from vlbias.data.scenes import Scene

__all__ = ["EyesTrainer"]

FAR = 10_000_000  # number of the first scene that the backbone alone is shown


class EyesTrainer(Loop):
    """Trains the backbone alone, on hints: boxes are learnt sooner by a detector that sees.

    Args:
        backbone: Of a detector; changed in place.
        settings: Its `count` scenes are shown twice as many an epoch, without boxes they are cheap.
    """

    def __init__(self, backbone: Any, settings: Any) -> None:
        self.backbone, self.seed = backbone, settings.seed
        self.hints = Hints(settings.width)
        trainable = dict(self.backbone.named_parameters())
        each = [*trainable.values(), *self.hints.parameters()]
        groups = [{"params": each, "rate": settings.rate, "weight_decay": 0.0}]
        super().__init__(
            2 * settings.count, f"eyes-{self.seed}", trainable, groups, settings, self.hints
        )

    def seen(self, shown: Sequence[Shown]) -> dict[str, Tensor]:
        """The losses of the hints."""
        states = self.backbone(pixels_of(shown)).feature_maps[-1].flatten(2).mT
        return self.hints.losses(states, states.mean(1), shown)

    def losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the patches hold, and what is in sight."""
        begin = FAR + self.progress.epoch * self.count
        parts = self.seen([show("unbiased", self.seed, int(begin + row)) for row in rows])
        return sum(HINTS[name] * part for name, part in parts.items()), parts

    @torch.no_grad()
    def measure(self, scenes: Sequence[Scene]) -> dict[str, float]:
        """Losses on scenes nobody has seen; "score" is that of the scene, negative."""
        parts = self.seen([show("unbiased", HELD_OUT, scene.number) for scene in scenes])
        return {"score": -float(parts["scene"])} | {k: float(v) for k, v in parts.items()}
