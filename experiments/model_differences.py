"""Size, coverage and power of the paired comparison of two models, on simulated photos.

    python experiments/model_differences.py --replicates 1000

A scenario alone, for a run in parts: `--scenario "the same bias"`.
Photos share noise between the models; thresholds of each model are set on other photos. The truth of the
difference is the mean of the estimate over replicates, that of B is computed from 400,000 photos.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.model_differences import ScoredModel, model_differences
from vlbias.analysis.operating_point import calibrate
from vlbias.analysis.panel import Panel
from vlbias.analysis.threshold_error import threshold_draws

OBJECTS, SHARED = 20, 0.7
SCENARIOS = {
    "no bias in either": (0.0, 0.0),
    "the same bias": (0.4, 0.4),
    "the same strong bias": (0.8, 0.8),
    "bias of other objects": (0.4, -0.4),
    "less in the second": (0.6, 0.3),
}
"""Shift of the scores of one group, in standard deviations, for the first and the second model; a negative
one stands on the other half of the objects, so that B is the same and no object's gap is."""

Array = NDArray[np.float64]


def shifts(size: float) -> Array:
    """[objects] shift of the first group: half of the objects have one, of alternating sign."""
    signs = np.where(np.arange(OBJECTS) % 2, 1.0, -1.0) * abs(size)
    first = np.arange(OBJECTS) < OBJECTS // 2
    return signs * (first if size >= 0 else ~first)


def photos(
    count: int, sizes: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, list[Array]]:
    """Group codes [photos] and scores [photos, objects] of each model, with noise that they share."""
    group = np.arange(count) % 2
    shared = rng.normal(size=(count, OBJECTS))
    scores = [
        np.sqrt(SHARED) * shared
        + np.sqrt(1 - SHARED) * rng.normal(size=(count, OBJECTS))
        + (group == 0)[:, None] * shifts(size)
        for size in sizes
    ]
    return group.astype(float), scores


def panel_of(group: Array) -> Panel:
    """Photos without any of the objects."""
    names = np.array([f"{i:06d}" for i in range(len(group))])
    labels = np.where(group == 0, "a", "b")
    absent = np.zeros((len(group), OBJECTS), bool)
    targets = tuple(map(str, range(OBJECTS)))
    return Panel(names, names, labels, np.full(len(group), "test"), targets, absent, ("a", "b"))


def replicate(sizes: tuple[float, float], count: int, seed: int, draws: int) -> dict[str, float]:
    """The row of one simulated comparison."""
    rng = np.random.default_rng(seed)
    models = {}
    (dev, dev_scores), (test, test_scores) = (photos(count, sizes, rng) for _ in range(2))
    for name, fit, scores in zip("AB", dev_scores, test_scores, strict=True):
        limits = calibrate(panel_of(dev), fit, "fpr", fpr=0.1)
        drawn = threshold_draws(
            panel_of(dev), fit, "fpr", fpr=0.1, draws=draws, rng=np.random.default_rng(seed)
        )
        models[name] = ScoredModel(scores, limits, drawn)
    table = model_differences(
        panel_of(test), models, objects=np.arange(OBJECTS), rng=rng, draws=draws
    )
    row: dict[str, float] = table.iloc[0].to_dict()
    return row


def true_b(size: float) -> float:
    """B of a model whose thresholds let 10 % of all photos through."""
    group, (scores, _) = photos(400_000, (size, size), np.random.default_rng(1))
    limits = np.quantile(scores, 0.9, axis=0)
    rates = [(scores[group == g] >= limits).mean(axis=0) for g in (0, 1)]
    return float(np.abs(rates[0] - rates[1])[shifts(size) != 0].sum())


def main() -> None:
    """Print one line per scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--scenario", choices=list(SCENARIOS), nargs="*", default=list(SCENARIOS))
    given = parser.parse_args()
    print(
        "| scenario | said to differ | coverage of the difference | coverage of the difference of B |"
    )
    print("|---|---|---|---|")
    for name in given.scenario:
        sizes = SCENARIOS[name]
        rows = [
            replicate(sizes, given.photos, seed, given.draws) for seed in range(given.replicates)
        ]
        found = {
            key: np.array([row[key] for row in rows]) for key in ("difference", "lo", "hi", "p")
        }
        truth = found["difference"].mean() if sizes[0] != abs(sizes[1]) else 0.0
        own = true_b(sizes[0]) - true_b(sizes[1])
        covers = np.mean([row["B_lo"] <= own <= row["B_hi"] for row in rows])
        held = np.mean((found["lo"] <= truth) & (truth <= found["hi"]))
        said = np.mean(found["p"] <= 0.05)
        print(f"| {name} | {said:.1%} | {held:.1%} | {covers:.1%} |", flush=True)


if __name__ == "__main__":
    main()
