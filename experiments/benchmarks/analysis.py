"""Time and memory of the full analysis, and its ratio to resample-and-groupby on a smaller case.

python experiments/benchmarks/analysis.py                     5,400 x 80 x 4 arms x 200 mediators
python experiments/benchmarks/analysis.py --mediators 20      a tenth of it
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import effects
from vlbias.analysis.operating import attributable
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.planted import PlantedWorld, make_world, mediated_conditions

Triple = tuple[str, Floats, Floats]


def planted(n: int, objects: int) -> tuple[PlantedWorld, Panel, dict[str, Floats]]:
    """A panel and its four arms."""
    world = make_world(np.random.default_rng(7), objects=objects)
    return (world, *world.draw(n, mediated_conditions(0.25, 0.5), np.random.default_rng(1)))


def write(folder: Path, panel: Panel, arms: dict[str, Floats], mediators: int) -> None:
    """One row group per mediator and arm: a column of S x K scores, row by row."""
    rng = np.random.default_rng(2)
    schema = pa.schema([("score", pa.list_(pa.float32(), len(panel.targets)))])
    for arm in ("01", "10"):
        with pq.ParquetWriter(folder / f"{arm}.parquet", schema, compression="zstd") as writer:
            for _ in range(mediators):
                noise = rng.standard_normal(arms[arm].shape, dtype=np.float32)
                flat = pa.array((arms[arm] + np.float32(0.1) * noise).ravel())
                column = pa.FixedSizeListArray.from_arrays(flat, len(panel.targets))
                writer.write_table(pa.table([column], schema=schema))


def read(folder: Path, shape: tuple[int, int]) -> Iterator[Triple]:
    """Streams (mediator, y01, y10)."""
    files = [pq.ParquetFile(folder / f"{arm}.parquet") for arm in ("01", "10")]
    for group in range(files[0].num_row_groups):
        pair = []
        for file in files:
            column = file.read_row_group(group).column("score").combine_chunks()
            pair.append(column.flatten().to_numpy().reshape(shape))
        yield f"mediator {group}", pair[0], pair[1]


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
        write(Path(name), panel, arms, options.mediators)
        start, cpu = time.perf_counter(), time.process_time()
        found = disparity(panel, arms["00"], zero, rng=rng)
        first = time.perf_counter() - start
        attributable(panel, arms["00"], arms["11"], zero, rng=rng)
        stream = read(Path(name), arms["00"].shape)
        bar = track(stream, total=options.mediators, description="mediators")
        table = effects(panel, arms["00"], arms["11"], bar, thresholds=zero, rng=rng).table
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"B {found.plugin:.3f}, floor {found.floor:.3f}, {len(table)} effects")
    print(
        f"{options.images} images x {options.objects} objects x {options.mediators} mediators: "
        f"{wall:.1f} s wall, {cpu:.1f} s CPU, {peak:.2f} GB peak "
        f"(floor, test, cross-fit and limits of one arm: {first:.1f} s)"
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
