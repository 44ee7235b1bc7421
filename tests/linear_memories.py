"""Linear memories whose keys, moments and interference are known: the truth for rank-one edits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

WIDTH, OUT, ANSWERS = 256, 48, 60


def unit(columns: np.ndarray) -> np.ndarray:
    return columns / np.linalg.norm(columns, axis=0)


@dataclass
class Memories:
    """Several maps whose outputs add up, each with keys of its own.

    Args:
        weights: [out, in] of each.
        keys: [in, facts] of each.
        without: The same as they are without a prefix; for a flash-prone fact nearly orthogonal to them.
        moments: C of each.
        values: [out, answers].
        answers: Of each fact.
        prone: [maps, facts] whether a fact is flash-prone there.
    """

    weights: list[Tensor]
    keys: list[Tensor]
    without: list[Tensor]
    moments: list[Tensor]
    values: Tensor
    answers: np.ndarray
    prone: np.ndarray
    rng: np.random.Generator

    def outputs(self) -> Tensor:
        return sum(w @ k for w, k in zip(self.weights, self.keys, strict=True))  # type: ignore[return-value]

    def recalled(self) -> np.ndarray:
        return (self.values.T @ self.outputs()).argmax(0).numpy()


def memories(
    seed: int, count: int = 4, facts: int = 160, prone: float = 0.3, overlap: float = 0.02
) -> Memories:
    rng = np.random.default_rng(seed)
    values, answers = unit(rng.normal(size=(OUT, ANSWERS))), rng.integers(ANSWERS, size=facts)
    matched, scale = rng.integers(count, size=facts), np.geomspace(1, 1 / 30, WIDTH)[:, None]
    keys, without, moments = [], [], []
    bad = np.zeros((count, facts), bool)
    for layer in range(count):
        mine = unit(rng.normal(size=(WIDTH, facts)) * scale)
        others = unit(rng.normal(size=(WIDTH, 4000)) * scale)
        second = others @ others.T / 4000
        bad[layer] = (matched != layer) & (rng.random(facts) < prone)
        plain = mine.copy()
        for fact in np.flatnonzero(bad[layer]):
            plain[:, fact] = nearly_orthogonal(mine[:, fact], second, overlap, rng, scale[:, 0])
        keys.append(mine)
        without.append(plain)
        moments.append(second)
    whole = np.linalg.lstsq(np.concatenate(keys).T, values[:, answers].T, rcond=None)[0].T
    parts = [torch.from_numpy(whole[:, n * WIDTH : (n + 1) * WIDTH].copy()) for n in range(count)]
    tensors = ([torch.from_numpy(one) for one in some] for some in (keys, without, moments))
    return Memories(parts, *tensors, torch.from_numpy(values), answers, bad, rng)


def nearly_orthogonal(
    key: np.ndarray, second: np.ndarray, overlap: float, rng: np.random.Generator, scale: np.ndarray
) -> np.ndarray:
    """A key of length 1 whose overlap with `key`, in the metric of C⁻¹, comes from `overlap` alone."""
    whitened = np.linalg.solve(second, key)
    drawn = rng.normal(size=len(key)) * scale
    drawn -= key * (drawn @ whitened) / (key @ whitened)
    return overlap * key + np.sqrt(1 - overlap**2) * drawn / np.linalg.norm(drawn)
