"""Photos of a hostile world: scores with given rates, and everything that makes samples awkward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import t

from hostile.rates import INTERVENTIONS, Rates
from vlbias.analysis.panel import Panel

__all__ = ["WORLDS", "Drawn", "World"]

OBJECTS = 60
PREVALENCE = 0.04


@dataclass(frozen=True)
class World:
    """How photos are drawn.

    Args:
        intervention: Name in `INTERVENTIONS`.
        shared: Loading of what all objects of a photo have in common, by group.
        ratio: Share of photos of the first group.
        clusters: Photos per cluster, by group.
        correlation: Within clusters.
        heavy: Whether the shared part has three degrees of freedom, which moves rates a little.
        empty: Share of photos in which nothing is ever found.
        steps: Scores are rounded to so many steps a standard deviation; 0 leaves them.
        mislabelled: Share of objects' presence labels that are wrong, for every other object.
        agreement: Correlation of a photo's own noise before and after.
        objects: How many.
    """

    intervention: str
    shared: tuple[float, float] = (0.3, 0.3)
    ratio: float = 0.7
    clusters: tuple[int, int] = (1, 1)
    correlation: float = 0.0
    heavy: bool = False
    empty: float = 0.0
    steps: int = 0
    mislabelled: float = 0.0
    agreement: float = 0.9
    objects: int = OBJECTS

    @property
    def rates(self) -> Rates:
        """[2, K] true false-positive rates before and after."""
        before, after = INTERVENTIONS[self.intervention](self.objects)
        return self._true(before), self._true(after)

    def _true(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rates of scores whose shared part is not normal, and of photos that are not empty."""
        if self.heavy:
            points = t.ppf((np.arange(4000) + 0.5) / 4000, 3) / np.sqrt(3)
            load = np.asarray(self.shared)[:, None, None]
            moved = (ndtri(rates)[..., None] + load * points) / np.sqrt(1 - load**2)
            rates = ndtr(moved).mean(axis=-1)
        return rates * (1 - self.empty)


@dataclass(frozen=True)
class Drawn:
    """Photos with scores.

    Args:
        panel: Groups, clusters, presence.
        scores: Arm ("null", "intervention", "placebo") to [S, K]; thresholds are 0.
    """

    panel: Panel
    scores: Mapping[str, NDArray[np.float32]]


def draw(world: World, n: int, rng: np.random.Generator) -> Drawn:
    """So many photos; the placebo does nothing but redraw a tenth of the noise."""
    first = round(n * world.ratio)
    own = np.arange(n) >= first  # of the second group
    cluster = _clusters(own, first, world)
    before, after = INTERVENTIONS[world.intervention](world.objects)
    load = np.where(own, world.shared[1], world.shared[0])[:, None]
    common = load * _shared(world, (n, 1), rng)
    between = np.sqrt(world.correlation) * rng.standard_normal((cluster.max() + 1, world.objects))
    rest = np.sqrt(np.maximum(1 - load**2 - world.correlation, 0))
    noise = rng.standard_normal((n, world.objects))
    empty = rng.random((n, 1)) < world.empty
    arms = {}
    for name, rates in (("null", before), ("intervention", after), ("placebo", before)):
        moved = noise if name == "null" else _redrawn(noise, world.agreement, rng)
        level = ndtri(rates)[own.astype(int)]
        scores = np.where(empty, -9.0, level + common + between[cluster] + rest * moved)
        if world.steps:
            scores = np.floor(scores * world.steps) / world.steps
        arms[name] = scores.astype(np.float32)
    present = rng.random((n, world.objects)) < PREVALENCE
    present[:, ::2] ^= rng.random(present[:, ::2].shape) < world.mislabelled
    ids = np.char.zfill(np.arange(n).astype(str), 6)
    names = np.char.zfill(cluster.astype(str), 6)
    group = np.where(own, "b", "a")
    targets = tuple(f"object {k}" for k in range(world.objects))
    split = np.full(n, "test")
    return Drawn(Panel(ids, names, group, split, targets, present, ("a", "b")), arms)


def _redrawn(
    noise: NDArray[np.float64], agreement: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    return agreement * noise + np.sqrt(1 - agreement**2) * rng.standard_normal(noise.shape)


def _shared(world: World, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    if world.heavy:
        return rng.standard_t(3, shape) / np.sqrt(3)
    return rng.standard_normal(shape)


def _clusters(own: NDArray[np.bool_], first: int, world: World) -> NDArray[np.intp]:
    a, b = world.clusters
    return np.where(
        own, first // a + 1 + (np.arange(len(own)) - first) // b, np.arange(len(own)) // a
    )


def _designs(intervention: str) -> dict[str, World]:
    plain = World(intervention)
    return {
        "dependence in the smaller group": replace(plain, shared=(0.3, 0.7)),
        "dependence in the larger group": replace(plain, shared=(0.7, 0.2)),
        "strong dependence in the smaller group": replace(plain, shared=(0.0, 0.95), ratio=0.8),
        "strong dependence": replace(plain, shared=(0.7, 0.7)),
        "heavy tails": replace(plain, heavy=True, shared=(0.5, 0.5)),
        "zero inflation": replace(plain, empty=0.5),
        "ties": replace(plain, steps=2),
        "95 to 5": replace(plain, ratio=0.95),
        "clusters of 15": replace(plain, clusters=(15, 15), correlation=0.4),
        "bursts in one group": replace(plain, clusters=(10, 1), correlation=0.4),
        "few bursts in the smaller group": replace(
            plain, clusters=(20, 1), correlation=0.4, ratio=0.33
        ),
        "wrong labels on every other object": replace(plain, mislabelled=0.1),
        "few objects": replace(plain, objects=8),
    }


WORLDS: Mapping[str, World] = {
    **{name: World(name) for name in INTERVENTIONS},
    **{f"{d}, no bias": w for d, w in _designs("no bias, nothing done").items()},
    **{f"{d}, bias": w for d, w in _designs("bias, nothing done").items()},
}
"""Name to world."""
