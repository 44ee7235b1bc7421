"""Tests, floor and limits where groups differ in dependence, in clusters, or have few of them.

    python experiments/dependence.py                       400 data sets of every world
    python experiments/dependence.py --replicates 100 bursts clusters

Photos of two groups with the same rates (or with gaps), objects that correlate within a photo in one
group only, clusters of another size in each group. Printed are, in percent: rejections of the two
tests of no bias at 5 %, coverage of B, of single objects and of the cross-fit (about its mean over data
sets); and the mean of the plug-in beside the mean floor, which are equal where there is no bias.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.progress import track
from scipy.special import ndtr, ndtri

from vlbias.analysis.disparity import disparity
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Floats, Panel


@dataclass(frozen=True)
class World:
    """Two groups; all that differs between them but the rates."""

    n: int
    share: float
    shared: tuple[float, float] = (0.3, 0.3)
    rows: tuple[int, int] = (1, 1)
    within: float = 0.0
    size: float = 0.0
    objects: int = 79
    rate: float = 0.1


WORLDS = {
    "alike, 373": World(373, 0.72),
    "objects correlate .2/.6, 2,000, 90:10": World(2000, 0.9, (0.2, 0.6)),
    "objects correlate .3/.7, 373, 72:28": World(373, 0.72, (0.3, 0.7)),
    "objects correlate 0/.95, 1,500, 80:20": World(1500, 0.8, (0.0, 0.95)),
    "objects correlate 0/.95, 2,000, 95:5": World(2000, 0.95, (0.0, 0.95)),
    "objects correlate .95/0, 2,000, 95:5": World(2000, 0.95, (0.95, 0.0)),
    "bursts of 10 in one group, 1,500": World(1500, 0.6, rows=(10, 1), within=0.5),
    "20 bursts of 20 in one group, 1,200": World(1200, 1 / 3, rows=(20, 1), within=0.5),
    "10 bursts of 40 in one group, 1,200": World(1200, 1 / 3, rows=(40, 1), within=0.3),
    "24 clusters of 25": World(600, 0.5, rows=(25, 25), within=0.5),
    "12 clusters of 50": World(600, 0.5, rows=(50, 50), within=0.3),
    "12 clusters of 50, strong": World(600, 0.5, rows=(50, 50), within=0.6),
}
GAPS = {
    "weak bias, alike, 373": World(373, 0.72, size=0.15),
    "weak bias, .3/.7, 373": World(373, 0.72, (0.3, 0.7), size=0.15),
    "bias, 20 bursts of 20": World(1200, 1 / 3, rows=(20, 1), within=0.5, size=0.4),
    "bias, 24 clusters of 25": World(600, 0.5, rows=(25, 25), within=0.5, size=0.4),
    "bias, 12 clusters of 50": World(600, 0.5, rows=(50, 50), within=0.3, size=0.4),
}


def draw(world: World, rng: np.random.Generator) -> tuple[Panel, Floats, Floats]:
    """A panel, its scores and the true gaps; the threshold is 0, the variance 1."""
    k, n = world.objects, world.n
    first = np.arange(n) < round(n * world.share)
    offset = np.random.default_rng(5).normal(0, world.size, k)
    offset *= np.random.default_rng(6).random(k) < 0.5
    member = np.where(first, np.arange(n) // world.rows[0], n + np.arange(n) // world.rows[1])
    cluster = np.unique(member, return_inverse=True)[1]
    load = np.where(first, *world.shared)[:, None]
    scores = load * rng.standard_normal((n, 1))
    scores = scores + np.sqrt(world.within) * rng.standard_normal((cluster.max() + 1, k))[cluster]
    scores = scores + np.sqrt(1 - load**2 - world.within) * rng.standard_normal((n, k))
    side = np.where(first, 0.5, -0.5)[:, None]
    scores = scores + ndtri(world.rate) + side * offset
    rates = ndtr(ndtri(world.rate) + np.stack([offset, -offset]) / 2)
    ids = np.char.zfill(np.arange(n).astype(str), 6)
    names = tuple(f"object {i}" for i in range(k))
    there = rng.random((n, k)) < 0.05
    group = np.where(first, "a", "b")
    panel = Panel(ids, np.char.zfill(cluster.astype(str), 6), group, ids, names, there, ("a", "b"))
    return panel, scores.astype(np.float32), rates[0] - rates[1]


def replicate(world: World, seed: int, permutations: int, draws: int) -> dict[str, float]:
    """What one data set says, beside the truth."""
    rng = np.random.default_rng(seed)
    panel, scores, gap = draw(world, rng)
    zero = np.zeros(world.objects)
    used = support(panel, scores, zero)
    found = disparity(
        panel, scores, zero, rng=rng, objects=used, permutations=permutations, draws=draws
    )
    table, truth = found.objects.iloc[used], float(np.abs(gap[used]).sum())
    inside = (table["lo"] - 1e-12 <= gap[used]) & (gap[used] <= table["hi"] + 1e-12)
    return {
        "p": found.p <= 0.05,
        "p_plugin": found.p_plugin <= 0.05,
        "B": found.lo - 1e-9 <= truth <= found.hi + 1e-9,
        "objects": inside.mean(),
        "max_t": table["p_max_t"].min() <= 0.05,
        "lo": found.crossfit_lo,
        "hi": found.crossfit_hi,
        "crossfit": found.crossfit,
        "plugin": found.plugin,
        "floor": found.floor,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of the names of worlds; all if none")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--draws", type=int, default=400)
    options = parser.parse_args()
    heads = ("world", "p", "p_plugin", "max-T", "B", "objects", "cross-fit", "plug-in", "floor")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, world in {**WORLDS, **GAPS}.items():
        if options.names and not any(part in name for part in options.names):
            continue
        seeds = track(range(options.replicates), name, transient=True)
        rows = [replicate(world, seed, options.permutations, options.draws) for seed in seeds]
        frame = pd.DataFrame(rows)
        middle = frame["crossfit"].mean()
        share = 100 * frame[["p", "p_plugin", "max_t", "B", "objects"]].mean()
        held = (frame["lo"] <= middle) & (middle <= frame["hi"])
        numbers = " | ".join(f"{value:.1f}" for value in [*share, 100 * held.mean()])
        sums = f"{frame['plugin'].mean():.3f} | {frame['floor'].mean():.3f}"
        print(f"| {name} | {numbers} | {sums} |", flush=True)


if __name__ == "__main__":
    main()
