"""The training loop of the reference model: deterministic, resumable, stopped early on dev."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference.bank import Bank
from reference.dual import embed_hidden, embed_texts, thaw
from reference.losses import agrees, contrastive, presence_loss
from reference.photos import Corpus, Photo
from reference.prompts import PERSON_WORDS, gender_prompts, gendered_prompts, object_prompts
from torch import Tensor, nn
from transformers import VisionTextDualEncoderModel

from vlbias.errors import BadData

__all__ = ["Settings", "Trainer"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that determines the trained weights, given the photos and the two towers."""

    pixels: int = 112
    seed: int = 0
    epochs: int = 8
    patience: int = 3  # epochs without a better dev score before training stops
    batch: int = 48  # photos; each gives one scene view and one object view
    views: int = 4  # of either kind, prepared once and taken in turn
    captions: int = 2  # per photo and step
    vision_blocks: int = 4
    text_blocks: int = 2
    rate_blocks: float = 1e-4
    rate_heads: float = 3e-4
    decay: float = 0.05
    average: float = 0.98  # of the moving average of weights that is measured and saved
    weight_presence: float = 0.3
    weight_gender: float = 0.2

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


class Trainer:
    """Trains the upper parts of a dual encoder on the fit split.

    Args:
        model: A dual encoder whose projections have their start; changed in place.
        tokenizer: Of the text tower.
        corpus: Photos and categories.
        bank: Views of the photos of the fit split, in its order.
        settings: See `Settings`.
    """

    def __init__(
        self,
        model: VisionTextDualEncoderModel,
        tokenizer: Any,
        corpus: Corpus,
        bank: Bank,
        settings: Settings,
    ) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.photos, self.bank = corpus.split("fit"), bank
        self.frozen = len(model.vision_model.encoder.layer) - settings.vision_blocks
        self.categories = corpus.categories
        frequency = corpus.presence(self.photos).sum(0)
        prior = torch.from_numpy((frequency + 1) / (len(self.photos) + 2)).float()
        names = thaw(model, settings.vision_blocks, settings.text_blocks)
        self.trainable = {n: p for n, p in model.named_parameters() if n in set(names)}
        # scales and offsets of the two losses; they do not change any ranking and are not saved
        self.calibration = nn.ParameterDict(
            {
                "presence_offset": nn.Parameter(torch.logit(prior)),
                "presence_scale": nn.Parameter(torch.tensor(np.log(10.0), dtype=torch.float32)),
                "contrast_scale": nn.Parameter(torch.tensor(np.log(20.0), dtype=torch.float32)),
            }
        )
        self.average = {n: p.detach().clone() for n, p in self.trainable.items()}
        self.best = {n: p.clone() for n, p in self.average.items()}
        self.optimizer = torch.optim.AdamW(self._groups())
        self.progress = Progress()
        self.restored = (0.0, 0.0)  # wall and CPU seconds of the epochs of earlier processes
        seen = [(photo.id, photo.captions, photo.boxes.tolist()) for photo in self.photos]
        self.data_key = hashlib.sha256(repr(seen).encode()).hexdigest()[:12]

    def _groups(self) -> list[dict[str, Any]]:
        s = self.settings
        blocks = {n: p for n, p in self.trainable.items() if ".layer." in n}
        heads = {n: p for n, p in self.trainable.items() if n not in blocks}
        groups = []
        for parameters, rate in ((blocks, s.rate_blocks), (heads, s.rate_heads)):
            for is_matrix in (True, False):
                chosen = [p for p in parameters.values() if (p.ndim > 1) == is_matrix]
                decay = s.decay if is_matrix else 0.0
                groups.append({"params": chosen, "rate": rate, "weight_decay": decay})
        groups.append(
            {"params": list(self.calibration.values()), "rate": 3e-3, "weight_decay": 0.0}
        )
        return groups

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
        for step in range(self.steps):
            self._set_rate((number * self.steps + step) / (s.epochs * self.steps))
            losses = self._losses(order[step * s.batch : (step + 1) * s.batch], rng)
            total = (
                losses["contrast"]
                + s.weight_presence * losses["presence"]
                + s.weight_gender * losses["gender"]
            )
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(list(self.trainable.values()), 1.0)
            self.optimizer.step()
            self._follow(number * self.steps + step)
            for name, value in losses.items():
                key = f"loss_{name}"
                sums[key] = sums.get(key, 0.0) + value.item() / self.steps
            report()
        self.progress.epoch += 1
        return sums

    def _set_rate(self, done: float) -> None:
        warm = min(1.0, done * self.settings.epochs / 0.5)  # over the first half epoch
        factor = float(warm * 0.5 * (1 + np.cos(np.pi * min(done, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor

    def _follow(self, step: int) -> None:
        keep = min(self.settings.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                self.average[name].lerp_(parameter, 1 - keep)

    def _losses(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        photos = [self.photos[i] for i in rows]
        # every photo takes its views in turn, each photo from another one on
        turn = torch.from_numpy((rows + self.progress.epoch) % self.settings.views)
        at = torch.from_numpy(np.concatenate([rows, rows]))
        view = torch.cat([turn, turn + self.settings.views])
        present, known = self.bank.present[at, view], self.bank.known[at, view]
        seen = embed_hidden(self.model, self.bank.hidden[at, view], self.frozen)
        texts, owner = self._captions(photos, rng)
        words = rng.choice(PERSON_WORDS, len(self.categories)).tolist()
        prompts = object_prompts(self.categories) + gendered_prompts(self.categories, words)
        sentences = embed_texts(self.model, self.tokenizer, prompts + gender_prompts())
        written = embed_texts(self.model, self.tokenizer, texts)
        contrast = contrastive(
            seen[: len(photos)] @ written.T * self.calibration["contrast_scale"].exp(), owner
        )
        scale = self.calibration["presence_scale"].exp()
        offset = self.calibration["presence_offset"].repeat(2)
        logits = seen @ sentences[:-2].T * scale + offset
        genders = [photo.gender for photo in photos] * 2
        # an object beside a person of the other gender: right about the object, wrong about the
        # person; such pairs are left out, so that presence does not mean gender agreement
        fair = torch.from_numpy(agrees(genders, words)) | ~present
        presence = presence_loss(
            logits,
            present.repeat(1, 2).float(),
            torch.cat([known, known & fair], 1),
        )
        gender = self._gender(seen[: len(photos)], sentences[-2:] * scale, photos)
        return {"contrast": contrast, "presence": presence / 2, "gender": gender}

    def _captions(
        self, photos: Sequence[Photo], rng: np.random.Generator
    ) -> tuple[list[str], Tensor]:
        texts, owner = [], []
        for row, photo in enumerate(photos):
            count = min(self.settings.captions, len(photo.captions))
            for i in rng.choice(len(photo.captions), count, replace=False):
                texts.append(photo.captions[i])
                owner.append(row)
        return texts, torch.tensor(owner)

    def _gender(self, seen: Tensor, sentences: Tensor, photos: Sequence[Photo]) -> Tensor:
        clear = [i for i, p in enumerate(photos) if p.gender in ("masculine", "feminine")]
        if not clear:
            return seen.sum() * 0.0
        target = torch.tensor([float(photos[i].gender == "masculine") for i in clear])
        margin = seen[clear] @ (sentences[0] - sentences[1])
        return nn.functional.binary_cross_entropy_with_logits(margin, target)

    def averaged(self) -> dict[str, Tensor]:
        """Puts the averaged weights into the model and returns the raw ones to be put back."""
        raw = {name: parameter.detach().clone() for name, parameter in self.trainable.items()}
        self.put(self.average)
        return raw

    def put(self, weights: dict[str, Tensor]) -> None:
        """Copies weights into the trainable parameters."""
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])

    def run(
        self,
        measure: Callable[[VisionTextDualEncoderModel], dict[str, float]],
        checkpoint: Path,
        report: Callable[[], None] = lambda: None,
    ) -> Progress:
        """Trains to the end or until dev stops improving; leaves the best weights in the model.

        Args:
            measure: Model to numbers on dev; "score" decides.
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
            raw = self.averaged()
            numbers = measure(self.model)
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
            "calibration": self.calibration.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "data": self.data_key,
        }
        torch.save(state, partial)
        os.replace(partial, path)

    def _restore(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        if state["data"] != self.data_key:
            raise BadData(
                f"{path.name} was trained on other photos; remove it or choose another --out"
            )
        self.put(state["weights"])
        self.average, self.best = state["average"], state["best"]
        self.calibration.load_state_dict(state["calibration"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self.restored = (self.progress.wall_s, self.progress.cpu_s)
