"""Time and memory of `vlbias report` on tables too large for memory: photos, 80 classes, 6 contrasts.

python experiments/big_table.py --photos 10000                 written, merged, reported, deleted
python experiments/big_table.py --photos 2000 --cells          cells first, then `vlbias compact`: same tables
python experiments/big_table.py --photos 120000 --folder DIR   kept in DIR for another report

Scores are drawn, no model is loaded: objects and gaps like those of a detector on COCO, each contrast takes a
share of every gap, each mediator a part of that. They are rounded to half precision, as a run in half precision
has them, which halves the table on the disk. Report and its peak of memory are of a process of their own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.progress import track

from vlbias.analysis.panel import Panel
from vlbias.analysis.simulated_scores import make_world, mediated_conditions
from vlbias.files import write_sealed
from vlbias.runs.compaction import compact
from vlbias.runs.manifest import described
from vlbias.store.cell_writer import SCHEMA, CellWriter
from vlbias.store.compact_files import CompactFile
from vlbias.store.manifest import MANIFEST
from vlbias.store.merging import write_slabs
from vlbias.store.seals import seal_cell, sums_of
from vlbias.store.slab_index import Piece, SlabKey
from vlbias.studies.bias.study import Study

CONTRASTS = tuple(
    f"null->{world}"
    for world in (
        "mask-gender", "replace-gender", "both", "placebo-image", "placebo-text", "placebo-both",
    )
)  # fmt: skip
CELL, BLOCK = 500, 4000


@dataclass(frozen=True)
class Table:
    """Everything that is drawn.

    Args:
        panel: Photos and objects.
        arms: Arm to scores [photos, objects].
        mediators: How many each contrast has.
    """

    panel: Panel
    arms: dict[str, np.ndarray]
    mediators: int

    def slabs(self) -> Iterator[tuple[SlabKey, float]]:
        """Every slab, and how much noise it has of its own."""
        for contrast in CONTRASTS:
            yield (contrast, "", "00", "presence"), 0.0
            yield (contrast, "", "11", "presence"), 0.05
            for i in range(self.mediators):
                for arm in ("01", "10"):
                    yield (
                        (contrast, f"image_encoder/head.{i // 10}[{i % 10}]", arm, "presence"),
                        0.1,
                    )

    def scores(
        self, key: SlabKey, share: float, part: slice, rng: np.random.Generator
    ) -> np.ndarray:
        """Scores of some photos, in half precision."""
        there = self.arms[key[2]][part]
        noise = rng.standard_normal(there.shape, dtype=np.float32)
        return (there + np.float32(share) * noise).astype(np.float16).astype(np.float32)

    def generator(self, block: int) -> np.random.Generator:
        """The noise of a block of photos."""
        return np.random.default_rng([3, block])


def draw(photos: int, objects: int, mediators: int) -> Table:
    """The photos and the four arms of an effect."""
    world = make_world(np.random.default_rng(7), objects=objects)
    conditions = mediated_conditions(0.25, 0.5)
    return Table(*world.draw(photos, conditions, np.random.default_rng(1)), mediators)


def write_folder(folder: Path, table: Table) -> list[str]:
    """The tables beside the cells, and the manifest; gives the keys of the cells."""
    (folder / "cells").mkdir(parents=True)
    panel = table.panel
    ids = panel.sample.astype(object)
    split = np.where(np.arange(len(ids)) % 5, "test", "dev")
    about = {"sample_id": ids, "cluster": ids, "group": panel.group, "split": split}
    pd.DataFrame(about).to_parquet(folder / "samples.parquet")
    row, column = np.nonzero(panel.present)
    there = {"sample_id": ids[row], "target": np.array(panel.targets, dtype=object)[column]}
    pd.DataFrame(there).to_parquet(folder / "present.parquet")
    keys = [f"cell-{start:06}" for start in range(0, len(ids), CELL)]
    study = Study.model_validate(
        {
            "name": folder.name,
            "model": "drawn",
            "dataset": {"name": "drawn", "splits": ("dev", "test"), "groups": panel.groups},
            "contrasts": CONTRASTS,
            "operating_point": {"rule": "fpr", "value": 0.05, "split": "dev", "report": ("test",)},
        }
    )
    names = list(dict.fromkeys(key[1] for key, _ in table.slabs() if key[1]))
    content = {
        **described(study, keys, len(ids) * len(panel.targets) * len(list(table.slabs()))),
        "data": {"content_hash": "drawn", "meta": {"funnel": {"photos drawn": len(ids)}}},
        "model": {"name": "drawn", "revision": "no model", "parameters": 0},
        "targets": list(panel.targets),
        "stages": {},
        "mediators": {name: {"sites": [name], "cut": False} for name in names},
        "contrasts": {
            name: {"alters": ["image_encoder"], "mediators": names} for name in CONTRASTS
        },
        "paper_unknowns": {},
        "sums": sums_of(folder, ["samples.parquet", "present.parquet"]),
    }
    write_sealed(folder / "manifest.json", content, of=MANIFEST)
    return keys


def write_cells(folder: Path, table: Table, keys: list[str]) -> None:
    """A file for each 500 photos, as `vlbias run` writes them."""
    panel = table.panel
    for number, key in track(list(enumerate(keys)), "cells"):
        part = slice(number * CELL, (number + 1) * CELL)
        rng = table.generator(number)
        ids = panel.sample[part].tolist()
        members = [(name, name) for name in ids]
        writer = CellWriter(folder, key, model="drawn", mitigation="none", samples=members)
        for slab, share in table.slabs():
            names = dict(zip(("contrast", "mediator", "arm", "outcome"), slab, strict=True))
            scores = table.scores(slab, share, part, rng)
            writer.add(names, range(len(ids)), panel.targets, scores)
        writer.close()
        seal_cell(folder, key)


def write_merged(folder: Path, table: Table, keys: list[str]) -> None:
    """Large files at once, as `vlbias compact` leaves them: cells of 120,000 photos take hours to write."""
    panel, per_file = table.panel, BLOCK // CELL
    slabs = list(table.slabs())
    for first in track(range(0, len(keys), per_file), "large files"):
        own = keys[first : first + per_file]
        part = slice(first * CELL, first * CELL + BLOCK)
        ids, k = panel.sample[part], len(panel.targets)
        size = len(ids) * k
        pieces = [Piece(key, i * size, size, 0) for i, (key, _) in enumerate(slabs)]
        counts = {
            "contrast": [key[0] for key, _ in slabs],
            "mediator": [key[1] for key, _ in slabs],
        }
        statuses = pa.table(
            {**counts, "status": ["ok"] * len(slabs), "count_all": [size] * len(slabs)}
        )
        target = CompactFile(folder, tuple(own))
        tables = _rows(table, part, own, first)
        write_slabs(target.table, pieces, statuses, tables, is_single=True)
        target.close()


def _rows(table: Table, part: slice, own: list[str], first: int) -> Iterator[pa.Table]:
    ids, k = table.panel.sample[part], len(table.panel.targets)
    n = len(ids)
    member = np.repeat(np.arange(n, dtype=np.int32), k)
    of_cell = (member // CELL).astype(np.int32)
    of_target = np.tile(np.arange(k, dtype=np.int32), n)
    rngs = [table.generator(first + i) for i in range(len(own))]

    def words(index: np.ndarray, names: list[str]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(names, pa.string()))

    zeros = np.zeros(n * k, np.int32)
    fixed = {
        "cell": words(of_cell, own), "sample_id": words(member, ids.tolist()),
        "cluster": words(member, ids.tolist()), "target": words(of_target, list(table.panel.targets)),
        "model": words(zeros, ["drawn"]), "mitigation": words(zeros, ["none"]),
        "status": words(zeros, ["ok"]), "weight": pa.array(np.ones(n * k, np.float32)),
    }  # fmt: skip
    for key, share in table.slabs():
        parts = [
            table.scores(key, share, slice(part.start + i * CELL, min(part.start + (i + 1) * CELL,
                                                                      part.start + n)), rng)
            for i, rng in enumerate(rngs)
        ]  # fmt: skip
        named = zip(("contrast", "mediator", "arm", "outcome"), key, strict=True)
        columns = fixed | {name: words(zeros, [word]) for name, word in named}
        columns["value"] = pa.array(np.concatenate(parts).ravel().astype(np.float64))
        yield pa.table([columns[field.name] for field in SCHEMA], schema=SCHEMA)


def report(folder: Path, draws: int) -> tuple[float, float, float]:
    """Seconds, CPU seconds and GB of a report in a process of its own."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "vlbias", "report", str(folder), "--draws", str(draws)]
    watch = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print('USED', used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    cpu, memory = map(float, re.findall(r"USED (\S+) (\S+)", done.stdout)[0])
    return time.perf_counter() - began, cpu, memory


def tables_of(folder: Path) -> dict[str, bytes]:
    """The tables of a report."""
    return {path.name: path.read_bytes() for path in sorted((folder / "report").rglob("*.csv"))}


def main() -> None:
    """Prints the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000])
    parser.add_argument("--objects", type=int, default=80)
    parser.add_argument("--mediators", type=int, default=100)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="written there if it is not there, and kept")
    parser.add_argument("--cells", action="store_true", help="write cells, report, merge, compare")
    options = parser.parse_args()
    for photos in options.photos:
        with tempfile.TemporaryDirectory() as name:
            folder = options.folder or Path(name) / "drawn"
            began = time.perf_counter()
            before = None
            if not folder.is_dir():
                table = draw(photos, options.objects, options.mediators)
                keys = write_folder(folder, table)
                (write_cells if options.cells else write_merged)(folder, table, keys)
                del table
            written = time.perf_counter() - began
            if options.cells:
                print(f"cells: {_size(folder)}, report {_said(report(folder, options.draws))}")
                before = tables_of(folder)
                shutil.rmtree(folder / "report")
                began = time.perf_counter()
                print(f"{compact(folder)} in {time.perf_counter() - began:.0f} s")
            used = report(folder, options.draws)
            print(
                f"{photos} photos x {options.objects} classes x {len(CONTRASTS)} contrasts x "
                f"{options.mediators} mediators: {_size(folder)} written in {written:.0f} s, "
                f"report {_said(used)}",
                flush=True,
            )
            if before is not None:
                print("tables before and after merging are equal:", before == tables_of(folder))


def _said(used: tuple[float, float, float]) -> str:
    return f"{used[0]:.0f} s wall, {used[1]:.0f} s CPU, {used[2]:.2f} GB peak"


def _size(folder: Path) -> str:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
