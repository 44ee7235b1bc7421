"""Time and memory of the full analysis, and its ratio to resample-and-groupby on a smaller case.

python experiments/benchmarks/analysis.py                     5,400 x 80 x 4 arms x 200 mediators
python experiments/benchmarks/analysis.py --mediators 20      a tenth of it
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from vlbias.analysis.attributable_change import Scored, attributable_change
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import effects
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.simulated_scores import PlantedWorld, make_world, mediated_conditions
from vlbias.files import write_sealed
from vlbias.store.cell_writer import SCHEMA_VERSION, CellWriter
from vlbias.store.manifest import MANIFEST
from vlbias.store.run_folder import Run
from vlbias.store.seals import seal_cell

CONTRAST, SHARD = "null->planted", 100


def planted(n: int, objects: int) -> tuple[PlantedWorld, Panel, dict[str, Floats]]:
    """A panel and its four arms."""
    world = make_world(np.random.default_rng(7), objects=objects)
    return (world, *world.draw(n, mediated_conditions(0.25, 0.5), np.random.default_rng(1)))


def write(folder: Path, panel: Panel, arms: dict[str, Floats], mediators: int) -> Run:
    """A run folder as `vlbias run` leaves it: cells of 100 images, every arm of every mediator."""
    (folder / "cells").mkdir()
    n = len(panel)
    ids = panel.sample.tolist()
    about = {"sample_id": ids, "cluster": ids, "group": panel.group}
    pd.DataFrame(about).to_parquet(folder / "samples.parquet")
    row, column = np.nonzero(panel.present)
    there = pd.DataFrame(
        {"sample_id": np.array(ids)[row], "target": np.array(panel.targets)[column]}
    )
    there.to_parquet(folder / "present.parquet")
    keys = [f"cell-{start}" for start in range(0, n, SHARD)]
    manifest = {"schema": SCHEMA_VERSION, "targets": list(panel.targets), "cells": keys, "sums": {}}
    write_sealed(folder / "manifest.json", manifest, of=MANIFEST)
    rng = np.random.default_rng(2)
    for key, start in track(list(zip(keys, range(0, n, SHARD), strict=True)), "writing the table"):
        part = slice(start, start + SHARD)
        members = [(name, name) for name in ids[part]]
        writer = CellWriter(folder, key, model="planted", mitigation="none", samples=members)
        for mediator, arm in [("", "00"), ("", "11")] + [
            (f"mediator {i}", arm) for i in range(mediators) for arm in ("01", "10")
        ]:
            scores = arms[arm][part]
            if mediator:
                noise = rng.standard_normal(scores.shape, dtype=np.float32)
                scores = scores + np.float32(0.1) * noise
            names = {"contrast": CONTRAST, "mediator": mediator, "arm": arm, "outcome": "presence"}
            writer.add(names, range(len(scores)), panel.targets, scores)
        writer.close()
        seal_cell(folder, key)
    return Run(folder)


def groupby_reference(panel: Panel, scores: Floats, draws: int, rng: np.random.Generator) -> float:
    """Seconds per draw of one arm's gaps by resampling rows of the long table and grouping them."""
    n, k = scores.shape
    long = pd.DataFrame(
        {
            "sample": np.repeat(np.arange(n), k),
            "group": np.repeat(panel.group, k),
            "object": np.tile(np.arange(k), n),
            "fp": ((scores >= 0) & ~panel.present).ravel(),
            "negative": ~panel.present.ravel(),
        }
    )
    by_sample = dict(iter(long.groupby("sample")))
    start = time.perf_counter()
    for _ in range(draws):
        chosen = pd.concat([by_sample[i] for i in rng.integers(0, n, n)])
        sums = chosen.groupby(["group", "object"])[["fp", "negative"]].sum()
        rate = (sums["fp"] / sums["negative"]).unstack("group")
        (rate.iloc[:, 0] - rate.iloc[:, 1]).abs().sum()
    return (time.perf_counter() - start) / draws


def main() -> None:
    """Prints the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5400)
    parser.add_argument("--objects", type=int, default=80)
    parser.add_argument("--mediators", type=int, default=200)
    options = parser.parse_args()
    _, panel, arms = planted(options.images, options.objects)
    zero = np.zeros(options.objects)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        run = write(Path(name), panel, arms, options.mediators)
        start, cpu = time.perf_counter(), time.process_time()
        y00, y11 = (run.slab(CONTRAST, "", arm) for arm in ("00", "11"))
        reading = time.perf_counter() - start
        found = disparity(panel, y00, zero, rng=rng)
        null, other = Scored(y00, zero), Scored(y11, zero)
        used = support(panel, y00, zero)
        attributable_change(panel, null, other, objects=used, rng=rng)
        bar = track(run.arms(CONTRAST), total=options.mediators, description="mediators")
        table = effects(panel, y00, y11, bar, thresholds=zero, rng=rng).table
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"B {found.plugin:.3f}, floor {found.floor:.3f}, {len(table)} effects")
    print(
        f"{options.images} images x {options.objects} objects x {options.mediators} mediators: "
        f"{wall:.1f} s wall, {cpu:.1f} s CPU, {peak:.2f} GB peak "
        f"(of which reading the table {reading:.1f} s)"
    )
    _, small, y = planted(500, 20)
    slow = groupby_reference(small, y["00"], 20, rng) * 2000
    start = time.perf_counter()
    disparity(small, y["00"], np.zeros(20), rng=rng)
    quick = time.perf_counter() - start
    print(
        f"500 images x 20 objects, 2,000 draws of an arm: groupby {slow:.0f} s, here {quick:.2f} s "
        f"with tests and permutations as well: {slow / quick:.0f} times"
    )


if __name__ == "__main__":
    main()
