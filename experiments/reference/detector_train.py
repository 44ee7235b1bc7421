"""The training loop of the detector: deterministic, resumable, stopped early on dev."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference.detector import Kept, forward, prompt_of
from reference.detector_bank import FeatureFile, truth_in
from reference.detector_loss import Truth, detection_loss
from reference.photos import Photo
from reference.views import View
from torch import Tensor, nn

from vlbias.errors import BadData
from vlbias.models.grounding.text import Reader

__all__ = ["DetectorTrainer", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that determines the trained weights, given the photos and the two encoders."""

    pixels: int = 336
    seed: int = 0
    epochs: int = 60
    patience: int = 12  # epochs without a better dev score before training stops
    batch: int = 8
    views: int = 4  # of each photo: whole, mirrored, crops; taken in turn
    width: int = 256
    layers: int = 3  # of fusion encoder and decoder each
    queries: int = 100
    middle: int = 8  # block of the backbone that is read beside the last one; 0 for none
    without_caption: float = 0.1  # share of steps whose prompt is the list of categories alone
    rate: float = 2e-4
    rate_text: float = 2e-5
    decay: float = 1e-4
    average: float = 0.999  # of the moving average of weights that is measured and saved
    clip: float = 0.5

    @property
    def key(self) -> str:
        """A short name that differs whenever a setting does."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass
class Progress:
    """What has been reached so far; saved with every checkpoint."""

    epoch: int = 0
    best_epoch: int = -1
    best_score: float = float("-inf")
    wall_s: float = 0.0
    cpu_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class DetectorTrainer:
    """Trains everything but the backbone on the fit split.

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
        reader: Reader,
        photos: Sequence[Photo],
        plan: Sequence[Sequence[View]],
        features: FeatureFile,
        *,
        categories: Sequence[str],
        settings: Settings,
    ) -> None:
        self.net, self.kept, self.reader, self.settings = net, kept, reader, settings
        self.photos, self.plan, self.features = photos, plan, features
        self.categories = tuple(categories)
        self.trainable = dict(net.named_parameters())
        text = [p for n, p in self.trainable.items() if ".text_backbone." in n]
        rest = [p for n, p in self.trainable.items() if ".text_backbone." not in n]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": rest, "rate": settings.rate},
                {"params": text, "rate": settings.rate_text},
            ],
            weight_decay=settings.decay,
        )
        self.average = {n: p.detach().clone() for n, p in self.trainable.items()}
        self.best = {n: p.clone() for n, p in self.average.items()}
        self.progress = Progress()
        self.restored = (0.0, 0.0)  # wall and CPU seconds of the epochs of earlier processes
        seen = [(photo.id, photo.captions, photo.boxes.tolist()) for photo in photos]
        self.data_key = hashlib.sha256(repr(seen).encode()).hexdigest()[:12]

    @property
    def steps(self) -> int:
        """Optimiser steps in one epoch."""
        return max(1, len(self.photos) // self.settings.batch)

    def epoch(self, report: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Trains for one epoch and returns the mean of each loss.

        All draws come from the seed and the number of the epoch, so that a resumed run takes the
        same ones.
        """
        s, number = self.settings, self.progress.epoch
        rng = np.random.default_rng([s.seed, number])
        order = rng.permutation(len(self.photos))
        sums: dict[str, float] = {}
        self.net.train()
        for step in range(self.steps):
            self._set_rate((number * self.steps + step) / (s.epochs * self.steps))
            total, parts = self._losses(order[step * s.batch : (step + 1) * s.batch], rng)
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(list(self.trainable.values()), s.clip)
            self.optimizer.step()
            self._follow(number * self.steps + step)
            for name, value in {"total": total, **parts}.items():
                key = f"loss_{name}"
                sums[key] = sums.get(key, 0.0) + value.item() / self.steps
            report()
        self.net.eval()
        self.progress.epoch += 1
        return sums

    def _set_rate(self, done: float) -> None:
        warm = min(1.0, done * self.settings.epochs)  # over the first epoch
        factor = float(warm * 0.5 * (1 + np.cos(np.pi * min(done, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor

    def _follow(self, step: int) -> None:
        keep = min(self.settings.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                self.average[name].lerp_(parameter, 1 - keep)

    def _losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
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
        found = forward(self.net, self.kept, maps, tokens, self.settings.pixels)
        return detection_loss(self.net, found, truths, tokens["roles"], tokens["attention_mask"])

    def _tokens(
        self, photos: Sequence[Photo], rng: np.random.Generator, device: torch.device
    ) -> Mapping[str, Tensor]:
        captions = [
            photo.captions[rng.integers(len(photo.captions))]
            if rng.random() >= self.settings.without_caption
            else ""
            for photo in photos
        ]
        pieces = [self.reader.pieces(prompt_of(text, self.categories))[0] for text in captions]
        return {key: value.to(device) for key, value in self.reader.read(pieces).items()}

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Copies weights into the trainable parameters."""
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])

    def run(
        self,
        measure: Callable[[], dict[str, float]],
        checkpoint: Path,
        report: Callable[[], None] = lambda: None,
    ) -> Progress:
        """Trains to the end or until dev stops improving; leaves the best weights in the net.

        Args:
            measure: Numbers on dev of the weights that are in the net; "score" decides.
            checkpoint: File written after every epoch and continued from if it exists.
            report: Called after every step.

        Raises:
            BadData: if the checkpoint belongs to other photos, captions or boxes.
        """
        if checkpoint.is_file():
            self._restore(checkpoint)
        s, p = self.settings, self.progress
        while p.epoch < s.epochs and p.epoch - 1 - p.best_epoch < s.patience:
            wall, cpu = time.monotonic(), time.process_time()
            losses = self.epoch(report)
            raw = {name: value.detach().clone() for name, value in self.trainable.items()}
            self.put(self.average)
            numbers = measure()
            if numbers["score"] > p.best_score:
                p.best_score, p.best_epoch = numbers["score"], p.epoch - 1
                self.best = {name: weight.clone() for name, weight in self.average.items()}
            self.put(raw)
            p.wall_s += time.monotonic() - wall
            p.cpu_s += time.process_time() - cpu
            dev = {f"dev_{name}": value for name, value in numbers.items()}
            p.history.append({"epoch": p.epoch - 1, **losses, **dev})
            self._save(checkpoint)
        self.put(self.best)
        return p

    def _save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        state = {
            "weights": {name: p.detach() for name, p in self.trainable.items()},
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "data": self.data_key,
        }
        torch.save(state, partial)
        os.replace(partial, path)

    def _restore(self, path: Path) -> None:
        device = next(iter(self.trainable.values())).device
        state = torch.load(path, weights_only=True, map_location=device)
        if state["data"] != self.data_key:
            raise BadData(
                f"{path.name} was trained on other photos; remove it or choose another --out"
            )
        self.put(state["weights"])
        self.average, self.best = state["average"], state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self.restored = (self.progress.wall_s, self.progress.cpu_s)
