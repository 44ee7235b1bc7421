"""Simulated scores of one condition with planted gaps, and the disparity of them."""

from __future__ import annotations

import numpy as np

from vlbias.analysis.disparity import Disparity, disparity
from vlbias.analysis.panel import Panel
from vlbias.analysis.simulated_scores import SimulatedCondition, make_world

ZERO = np.zeros(12)


def world(biased: float = 1.0, size: float = 0.6, objects: int = 12):
    return make_world(np.random.default_rng(5), objects=objects, biased=biased, size=size, fpr=0.08)


def data(n: int = 1200, biased: float = 1.0, seed: int = 0):
    panel, scores = world(biased).draw(
        n, {"null": SimulatedCondition(agreement=1.0)}, np.random.default_rng(seed)
    )
    return panel, scores["null"]


def run(panel: Panel, scores: np.ndarray, **more) -> Disparity:
    options = {"permutations": 200, "draws": 300, "rng": np.random.default_rng(3)} | more
    return disparity(panel, scores, ZERO, **options)
