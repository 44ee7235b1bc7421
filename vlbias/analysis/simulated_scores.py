"""A toy whose truth is known: scores of correlated objects with planted gaps and mediated shares.

Score of object o in image i of group g under condition c:

    a_o + sign_g (b_o / 2) scale_c - shift_c + shared_i + own_ioc,

with the object present where an independent draw says so, and a threshold at 0. All true rates,
gaps and effects follow in closed form from the normal distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from vlbias.analysis.panel import Floats, Panel

__all__ = ["PlantedWorld", "SimulatedCondition", "make_world", "mediated_conditions"]


@dataclass(frozen=True)
class SimulatedCondition:
    """How an arm differs from the null: gaps times `scale`, scores lowered by `shift`.

    Args:
        scale: Factor on the planted gaps.
        shift: Lowering of all scores, in units of their standard deviation.
        agreement: Correlation of the arm's own noise with the null arm's.
    """

    scale: float = 1.0
    shift: float = 0.0
    agreement: float = 0.9


@dataclass(frozen=True, eq=False)
class PlantedWorld:
    """Objects with prevalence, mean score and gap; images with a shared component.

    Args:
        prevalence: [K] probability that the object is in an image.
        level: [K] mean score; the threshold is 0, the standard deviation 1.
        bias: [K] difference of mean scores between the two groups.
        ratio: Share of the first group.
        shared: Standard deviation of what all objects of an image have in common.
    """

    prevalence: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    ratio: float = 0.68
    shared: float = 0.3

    def rates(self, condition: SimulatedCondition) -> npt.NDArray[np.float64]:
        """[2, K] true false-positive rates at threshold 0."""
        half = 0.5 * self.bias * condition.scale
        middle = self.level - condition.shift
        return np.asarray(ndtr(np.stack([middle + half, middle - half])))

    def gaps(self, condition: SimulatedCondition, measure: str = "fpr") -> npt.NDArray[np.float64]:
        """[1, K] true gaps of rates or of mean scores."""
        if measure == "score":
            return np.asarray(self.bias * condition.scale)[None]
        rates = self.rates(condition)
        return np.asarray(rates[0] - rates[1])[None]

    def spread(
        self, condition: SimulatedCondition, n: int, measure: str = "fpr"
    ) -> npt.NDArray[np.float64]:
        """[1, K] true standard errors of the gaps among n images."""
        counts = n * np.array([[self.ratio], [1 - self.ratio]]) * (1 - self.prevalence)
        rates = self.rates(condition)
        variance = np.ones_like(rates) if measure == "score" else rates * (1 - rates)
        return np.asarray(np.sqrt((variance / counts).sum(axis=0)))[None]

    def draw(
        self, n: int, conditions: Mapping[str, SimulatedCondition], rng: np.random.Generator
    ) -> tuple[Panel, dict[str, Floats]]:
        """A panel of n images and the scores of each condition, single precision.

        The noise of a condition correlates with the null noise by its `agreement`, conditions
        among each other by the product; a condition with agreement 1 repeats the null noise.
        """
        k = len(self.level)
        first = rng.random(n) < self.ratio
        present = rng.random((n, k)) < self.prevalence
        common = self.shared * rng.standard_normal((n, 1), dtype=np.float32)
        own = np.float32(np.sqrt(1 - self.shared**2))
        null = rng.standard_normal((n, k), dtype=np.float32)
        side = np.where(first, 0.5, -0.5).astype(np.float32)[:, None]
        scores: dict[str, Floats] = {}
        for name, c in conditions.items():
            fresh = rng.standard_normal((n, k), dtype=np.float32)
            noise = c.agreement * null + np.float32(np.sqrt(1 - c.agreement**2)) * fresh
            mean = (self.level - c.shift).astype(np.float32)
            scores[name] = (
                mean + side * (self.bias * c.scale).astype(np.float32) + common + own * noise
            ).astype(np.float32)
        ids = np.char.add("i", np.char.zfill(np.arange(n).astype(str), 6))
        group = np.where(first, "a", "b")
        split = np.full(n, "test")
        targets = tuple(f"object {i}" for i in range(k))
        return Panel(ids, ids, group, split, targets, present, ("a", "b")), scores


def make_world(
    rng: np.random.Generator,
    *,
    objects: int = 79,
    biased: float = 0.5,
    size: float = 0.35,
    fpr: float = 0.02,
) -> PlantedWorld:
    """A world like a detector on COCO: log-normal prevalences and false-positive rates.

    Args:
        rng: Seeded generator of the objects, not of the images.
        objects: Number of objects.
        biased: Share of objects with a gap.
        size: Standard deviation of their gaps, in standard deviations of the score.
        fpr: Mean false-positive rate, roughly.
    """
    prevalence = np.clip(rng.lognormal(np.log(0.02), 1, objects), 0.002, 0.4)
    level = ndtri(np.clip(rng.lognormal(np.log(fpr) - 0.3, 0.8, objects), 1e-3, 0.2))
    has_gap = rng.random(objects) < biased
    bias = np.where(has_gap, rng.normal(0, 1, objects) * size, 0.0)
    return PlantedWorld(prevalence, np.asarray(level), bias)


def mediated_conditions(
    total: float, share: float, *, interaction: float = 0.0, agreement: float = 0.9
) -> dict[str, SimulatedCondition]:
    """The four arms of an effect that removes `total` of every gap, a `share` of it mediated.

    Arms "00", "11", "01" (mediator changed) and "10" (mediator kept). On the scale of scores NIE
    is share x total, NDE (1 - share - interaction) x total, the rest interaction.
    """
    direct = (1 - share - interaction) * total
    return {
        "00": SimulatedCondition(1.0, 0.0, 1.0),
        "11": SimulatedCondition(1.0 - total, 0.0, agreement),
        "01": SimulatedCondition(1.0 - share * total, 0.0, agreement),
        "10": SimulatedCondition(1.0 - direct, 0.0, agreement),
    }
