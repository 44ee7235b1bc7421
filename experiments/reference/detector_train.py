"""What the reference detector learns: boxes and the words that name them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from reference.detector import Kept, forward, prompt_of, tokens_of
from reference.detector_bank import FeatureFile, truth_in
from reference.detector_loss import Truth, detection_loss, levels_of, presence_loss
from reference.loop import Loop, Schedule
from reference.photos import Photo, key_of
from reference.views import View
from torch import Tensor

from vlbias.models.phrases import PhraseReader

__all__ = ["DetectorTrainer", "Settings", "worth_of"]

WORTH = (0.2, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Schedule):
    """Everything that determines the trained weights, given the photos and the two encoders."""

    epochs: int = 14
    patience: int = 10
    batch: int = 8
    average: float = 0.998
    clip: float = 0.5
    pixels: int = 224
    views: int = 4  # of each photo: whole, mirrored, crops; taken in turn
    width: int = 192
    layers: int = 3  # of fusion encoder and decoder each
    queries: int = 100
    without_caption: float = 0.1  # share of steps whose prompt is the list of categories alone
    rate: float = 5e-4
    rate_text: float = 0.0  # 0 freezes the text encoder, whose outputs are then kept
    decay: float = 1e-2
    dropout: float = 0.1  # of fusion encoder and decoder: so few photos are soon known by heart
    presence: float = 10.0  # weight of the loss on what is anywhere in a photo
    precision: str = "float32"  # of training passes, or "bfloat16"; numbers are made in float32

    @property
    def features_key(self) -> str:
        """A short name that differs whenever the features of the views do."""
        read = (self.pixels, self.views, self.seed)
        return hashlib.sha256(repr(read).encode()).hexdigest()[:12]


def worth_of(photos: Sequence[Photo], classes: int) -> Tensor:
    """What a box of each class counts, [K]: the more, the fewer there are, but within limits.

    Half of all boxes are persons: counted alike, they fill the boxes that a photo may have.
    """
    counts = torch.bincount(
        torch.from_numpy(np.concatenate([photo.classes for photo in photos])), minlength=classes
    ).float()
    usual = counts[counts > 0].median()
    return (usual / counts.clamp(min=1)).sqrt().clamp(*WORTH)


class DetectorTrainer(Loop):
    """Trains everything but the backbone, and the text encoder if it has a rate, on the fit split.

    Args:
        net: The detector with `Kept` in its backbone's place; changed in place.
        kept: That stand-in.
        reader: How texts become tokens.
        photos: Of the fit split.
        plan: Their views.
        features: Of these views.
        categories: Names of the classes.
        settings: See `Settings`.
    """

    def __init__(
        self,
        net: Any,
        kept: Kept,
        reader: PhraseReader,
        photos: Sequence[Photo],
        plan: Sequence[Sequence[View]],
        features: FeatureFile,
        *,
        categories: Sequence[str],
        settings: Settings,
    ) -> None:
        self.net, self.kept, self.reader, self.settings = net, kept, reader, settings
        self.plan, self.features = plan, features
        self.categories = tuple(categories)
        taps, side = features.array.shape[2], features.array.shape[4]
        self.levels = levels_of(side, taps)
        self.worth = worth_of(photos, len(categories))
        trainable = dict(net.named_parameters())
        groups = [
            {
                "params": [p for n, p in trainable.items() if (".text_backbone." in n) == is_text],
                "rate": settings.rate_text if is_text else settings.rate,
                "weight_decay": settings.decay,
            }
            for is_text in ((False, True) if settings.rate_text else (False,))
        ]
        self.photos = photos
        super().__init__(len(photos), key_of(photos), trainable, groups, settings)

    def epoch(self, report: Callable[[], None] = lambda: None) -> dict[str, float]:
        """As `Loop.epoch`, in training mode."""
        self.net.train()
        sums = super().epoch(report)
        self.net.eval()
        return sums

    def losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Classes, boxes and their overlap, of every decoder layer; see `detection_loss`."""
        photos = [self.photos[i] for i in rows]
        # every photo takes its views in turn, each photo from another one on
        turn = (rows + self.progress.epoch) % self.settings.views
        device = next(iter(self.trainable.values())).device
        tokens = self._tokens(photos, rng, device)
        truths = [
            truth_in(photo, self.plan[i][v]) for photo, i, v in zip(photos, rows, turn, strict=True)
        ]
        truths = [Truth(t.boxes.to(device), t.classes.to(device)) for t in truths]
        maps = self.features.rows(rows, turn).to(device)
        found = forward(
            self.net, self.kept, maps, tokens, self.settings.pixels, self.settings.precision
        )
        total, parts = detection_loss(
            self.net, found, truths, tokens["roles"], tokens["attention_mask"], self.levels,
            self.worth.to(device),
        )  # fmt: skip
        present = torch.zeros(len(rows), len(self.categories), device=device)
        for row, truth in enumerate(truths):
            present[row, truth.classes] = 1
        presence = presence_loss(found.logits, present, tokens["roles"])
        total = total + self.settings.presence * presence
        return total, {"total": total, **parts, "presence": presence}

    def _tokens(
        self, photos: Sequence[Photo], rng: np.random.Generator, device: torch.device
    ) -> Mapping[str, Tensor]:
        captions = [
            photo.captions[rng.integers(len(photo.captions))]
            if rng.random() >= self.settings.without_caption
            else ""
            for photo in photos
        ]
        tokens = tokens_of(self.reader, [prompt_of(text, self.categories) for text in captions])
        return {key: value.to(device) for key, value in tokens.items()}
