"""Training that can be stopped at any moment: epochs from seeds, moving average, early stopping on dev."""

from __future__ import annotations

import hashlib
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlbias.errors import BadData

__all__ = ["Loop", "Progress", "Schedule", "record_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What every training here sets; a subclass adds what is its own."""

    seed: int = 0
    epochs: int
    patience: int  # epochs without a better dev score before training stops
    batch: int
    average: float  # of the moving average of weights that is measured and saved
    warm_up: float = 1.0  # epochs over which the rate rises; it falls along a cosine after that
    clip: float = 1.0

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


class Loop(ABC):
    """Trains the parameters of a model.

    Args:
        count: Rows of an epoch.
        data_key: A short name that differs whenever the data do; a checkpoint of others is refused.
        trainable: Names and parameters that are averaged and saved.
        groups: Of the optimiser, each with its highest `rate`.
        schedule: How long and how fast.
        beside: Further parameters that the losses need and the model does not.
    """

    def __init__(
        self,
        count: int,
        data_key: str,
        trainable: Mapping[str, nn.Parameter],
        groups: list[dict[str, Any]],
        schedule: Schedule,
        beside: nn.Module | None = None,
    ) -> None:
        self.count, self.data_key = count, data_key
        self.trainable, self.schedule = dict(trainable), schedule
        self.beside = beside or nn.Module()
        self.optimizer = torch.optim.AdamW(groups)
        self.average = {n: p.detach().clone() for n, p in self.trainable.items()}
        self.best = {n: p.clone() for n, p in self.average.items()}
        self.progress = Progress()
        self.restored = (0.0, 0.0)  # wall and CPU seconds of the epochs of earlier processes

    @abstractmethod
    def losses(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised on these rows, and the parts that are recorded."""

    @property
    def steps(self) -> int:
        """Optimiser steps in one epoch."""
        return max(1, self.count // self.schedule.batch)

    def epoch(self, report: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Trains for one epoch and returns the mean of each loss.

        All draws come from the seed and the number of the epoch, so that a resumed run takes the
        same ones.
        """
        s, number = self.schedule, self.progress.epoch
        rng = np.random.default_rng([s.seed, number])
        order = rng.permutation(self.count)
        sums: dict[str, float] = {}
        for step in range(self.steps):
            self._set_rate((number * self.steps + step) / (s.epochs * self.steps))
            total, parts = self.losses(order[step * s.batch : (step + 1) * s.batch], rng)
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(list(self.trainable.values()), s.clip)
            self.optimizer.step()
            self._follow(number * self.steps + step)
            for name, value in parts.items():
                key = f"loss_{name}"
                sums[key] = sums.get(key, 0.0) + value.item() / self.steps
            report()
        self.progress.epoch += 1
        return sums

    def _set_rate(self, done: float) -> None:
        warm = min(1.0, done * self.schedule.epochs / self.schedule.warm_up)
        factor = float(warm * 0.5 * (1 + np.cos(np.pi * min(done, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor

    def _follow(self, step: int) -> None:
        keep = min(self.schedule.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                self.average[name].lerp_(parameter, 1 - keep)

    def put(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies weights into the trainable parameters; gives those that were there."""
        before = {name: p.detach().clone() for name, p in self.trainable.items()}
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])
        return before

    def run(
        self,
        measure: Callable[[], dict[str, float]],
        checkpoint: Path,
        report: Callable[[], None] = lambda: None,
    ) -> Progress:
        """Trains to the end or until dev stops improving; leaves the best weights in the model.

        Args:
            measure: Numbers on dev of the weights that are in the model; "score" decides.
            checkpoint: File written after every epoch and continued from if it exists.
            report: Called after every step.

        Raises:
            BadData: if the checkpoint belongs to other data.
        """
        if checkpoint.is_file():
            self._restore(checkpoint)
        s, p = self.schedule, self.progress
        while p.epoch < s.epochs and p.epoch - 1 - p.best_epoch < s.patience:
            wall, cpu = time.monotonic(), time.process_time()
            losses = self.epoch(report)
            raw = self.put(self.average)
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
            "beside": self.beside.state_dict(),
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
                f"{path.name} was trained on other data; remove it or choose another --out"
            )
        self.put(state["weights"])
        self.average, self.best = state["average"], state["best"]
        self.beside.load_state_dict(state["beside"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self.restored = (self.progress.wall_s, self.progress.cpu_s)


def record_of(loop: Loop) -> dict[str, Any]:
    """What is written of a training beside the model."""
    p = loop.progress
    return {
        "best_epoch": p.best_epoch,
        "history": p.history,
        "epochs_wall_s": p.wall_s,
        "epochs_cpu_s": p.cpu_s,
        "restored_s": loop.restored,
    }
