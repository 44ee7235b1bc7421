"""Seconds of `init`, `check` and `run --dry-run` on a set in COCO's layout with 120,000 photos, read twice.

python experiments/benchmarks/many_photos.py MODEL               120,000 photos, each a file of its own
python experiments/benchmarks/many_photos.py MODEL --photos 5000

Photos are tiny and alike; captions name women and men in turn. MODEL is a folder or a registered name.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("person", "bicycle", "car", "dog", "cup", "tie", "book", "vase")


def write(folder: Path, photos: int) -> None:
    """Photos, instances and captions of one subset."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    rng = np.random.default_rng(0)
    images, boxes, captions = [], [], []
    for number in range(1, photos + 1):
        name = f"{number:012}.jpg"
        colour = tuple(rng.integers(0, 255, 3).tolist())
        Image.new("RGB", (64, 48), colour).save(folder / "train2017" / name, "JPEG")
        images.append({"id": number, "file_name": name, "width": 64, "height": 48, "license": 4})
        for one in {0, *rng.integers(1, len(CLASSES), 2).tolist()}:
            boxes.append({"id": len(boxes) + 1, "image_id": number, "category_id": one + 1,
                          "bbox": [5, 5, 20, 30], "area": 600, "iscrowd": 0})  # fmt: skip
        who = ("woman", "man")[number % 2]
        for k in range(5):
            captions.append({"id": 10 * number + k, "image_id": number,
                             "caption": f"a {who} with a thing"})  # fmt: skip
    about = {"images": images, "licenses": [{"id": 4, "name": "Attribution License", "url": ""}]}
    names = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    for kind, rows, more in (
        ("instances", boxes, {"categories": names}),
        ("captions", captions, {}),
    ):
        path = folder / "annotations" / f"{kind}_train2017.json"
        path.write_text(json.dumps({**about, **more, "annotations": rows}))


def timed(*command: str) -> None:
    """Run a command of vlbias and print what it took."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "vlbias", *command], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"vlbias {' '.join(command)}: exit {done.returncode}, {time.perf_counter() - began:.1f} s wall, "
        f"{cpu:.1f} s CPU",
        flush=True,
    )
    if done.returncode > 1:
        print(done.stderr[-1500:])


def main() -> None:
    """Prints the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--photos", type=int, default=120_000)
    parser.add_argument("--folder", type=Path, help="kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        folder = options.folder or Path(name) / "coco"
        if not folder.is_dir():
            write(folder, options.photos)
        study = str(Path(name) / "study.toml")
        for _ in range(2):
            Path(study).unlink(missing_ok=True)
            timed("init", str(folder), "--model", options.model, "-o", study)
            timed("check", study)
            timed("run", study, "--dry-run", "-o", str(Path(name) / "runs"))
        for _ in range(2):
            timed("check", study, "--thorough")


if __name__ == "__main__":
    main()
