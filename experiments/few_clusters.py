"""Coverage of means and of changes of B_lin with few clusters, and of pooled gaps.

python experiments/few_clusters.py                    400 data sets of every kind
python experiments/few_clusters.py --replicates 100
"""

from __future__ import annotations

import argparse

import numpy as np
from dependence import World, draw
from rich.progress import track
from scipy.special import ndtr, ndtri

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.cluster_limits import clustered_newcombe
from vlbias.analysis.effects import combine
from vlbias.analysis.inference import cluster_weights
from vlbias.analysis.mean_effects import studentised_limits
from vlbias.analysis.pooled_gaps import pooled_gaps
from vlbias.analysis.rates import measure_rates

CHANGE = Combination("change", {"other": 1, "null": -1})


def mean(clusters: int, seed: int, skewed: bool) -> list[bool]:
    """A mean of clusters of 2 to 8: by percentiles of resampled clusters, and studentised."""
    rng = np.random.default_rng(seed)
    count = rng.integers(2, 9, clusters)
    shared = rng.exponential(1, clusters) - 1 if skewed else rng.standard_normal(clusters)
    total = count * shared + np.sqrt(count) * rng.standard_normal(clusters)
    weights = cluster_weights(clusters, 400, rng)
    low, high = np.quantile((weights @ total) / (weights @ count), [0.025, 0.975])
    _, lo, hi = studentised_limits([(total, count)], weights.astype(np.intp), 0.95)
    return [bool(low <= 0 <= high), bool(lo <= 0 <= hi)]


def clustered(world: World, seed: int) -> list[float]:
    """Single objects, and a change of B_lin with known signs that halves every gap."""
    rng = np.random.default_rng(seed)
    panel, scores, gap = draw(world, rng)
    zero, every = np.zeros(world.objects), np.arange(world.objects)
    rates = measure_rates(panel, scores, "fpr", zero)
    lo, hi = clustered_newcombe(rates)
    offset = np.random.default_rng(5).normal(0, world.size, world.objects)
    offset *= np.random.default_rng(6).random(world.objects) < 0.5
    side = np.where(panel.group == "a", 0.5, -0.5)[:, None]
    other = (scores - side * offset / 2 + 0.3 * rng.standard_normal(scores.shape)) / np.sqrt(1.09)
    level = ndtri(world.rate) + np.stack([offset, -offset]) / 4
    # what is drawn has variance 1.09 about the same level
    after = ndtr(level / np.sqrt(1.09))
    truth = float((np.sign(gap) * (after[0] - after[1] - gap)).sum())
    table = combine(
        panel, {"null": scores, "other": other.astype(np.float32)}, [CHANGE], base="null",
        thresholds=zero, functionals=("B_lin",), signs={"fpr": np.sign(gap)[None]}, objects=every,
        draws=400, rng=rng,
    )  # fmt: skip
    row = table.iloc[0]
    normal = 1.96 * row["se"]
    pooled = pooled_gaps(rates)
    return [
        float(((lo <= gap) & (gap <= hi)).mean()),
        float(abs(row["estimate"] - truth) <= normal),
        float(row["lo"] <= truth <= row["hi"]),
        float(((pooled.lo <= gap) & (gap <= pooled.hi)).mean()),
        float(((pooled.gap - gap) ** 2).sum() / ((rates.gap[0] - gap) ** 2).sum()),
    ]


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=400)
    seeds = range(parser.parse_args().replicates)
    print("| clusters | scores | percentiles, % | bootstrap-t, % |\n|---|---|---|---|")
    for clusters in (6, 10, 20):
        for skewed in (False, True):
            held = 100 * np.mean([mean(clusters, seed, skewed) for seed in seeds], axis=0)
            kind = "exponential" if skewed else "normal"
            print(f"| {clusters} | {kind} | {held[0]:.1f} | {held[1]:.1f} |", flush=True)
    heads = ("clusters", "objects", "B_lin, normal", "B_lin", "pooled gaps", "their squared error")
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    worlds = {
        "12 of 50": World(600, 0.5, rows=(50, 50), within=0.3, size=0.4, objects=40),
        "24 of 25": World(600, 0.5, rows=(25, 25), within=0.5, size=0.4, objects=40),
        "20 of 20, and single photos": World(1200, 1 / 3, rows=(20, 1), within=0.5, size=0.4, objects=40),
        "single photos, 400": World(400, 0.6, size=0.3, objects=40),
        "single photos, 400, no bias": World(400, 0.6, objects=40),
    }  # fmt: skip
    for name, world in worlds.items():
        rows = [clustered(world, seed) for seed in track(seeds, name, transient=True)]
        *held, ratio = np.mean(rows, axis=0)
        shown = " | ".join(f"{100 * value:.1f}" for value in held)
        print(f"| {name} | {shown} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
