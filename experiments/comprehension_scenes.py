"""Prints what planted models follow on rendered scenes, with every kind of surface edit, on several seeds.

    python experiments/comprehension_scenes.py --seeds 1 2 3

The truth is known: a model with a plant in the image follows the cue of the image, one with a plant in the
text that of the text, an unbiased one neither. All recognise objects.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from script import markdown

from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.comprehension.numbers import numbers
from vlbias.studies.comprehension.surfaces import SURFACES

PLANTS = ("image", "text", "unbiased")
FOLLOWS = {
    ("image", "scene-image-cues"),
    ("text", "scene-text-cues"),
    *((plant, "scene-objects") for plant in PLANTS),
}
"""Plant and task whose contrast is above 0."""


def settings(surfaces: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Task and kinds of surface edits."""
    for task in ("scene-objects", "scene-image-cues"):
        yield from ((task, (kind,)) for kind in surfaces)
    yield "scene-text-cues", ()


def measured(
    plant: str, task: str, surfaces: tuple[str, ...], seed: int, given: argparse.Namespace
) -> dict[str, object]:
    """One row: the unconditioned contrast with its limits, and the sizes of edits."""
    name = "-".join((task, plant, *surfaces, str(seed)))
    content = {
        "kind": "comprehension", "name": name, "model": f"planted-dual-{plant}", "task": task,
        "surfaces": surfaces, "count": given.count, "seed": seed,
    }  # fmt: skip
    study = lifecycle.parse_study(content)
    tables = numbers(Run(lifecycle.run(study, given.out).folder), draws=1000)
    row = tables.effects.set_index("quantity").loc["unconditioned"]
    sizes = tables.sizes.set_index("measure")
    strength = sizes.loc["strength"]
    return {
        "task": task,
        "surface": ", ".join(surfaces) or "noun",
        "plant": plant,
        "seed": seed,
        "contrast": row["estimate"],
        "lo": row["lo"],
        "hi": row["hi"],
        "deep px or words": sizes.loc["size", "deep"],
        "surface px or words": sizes.loc["size", "surface"],
        "deep strength": strength["deep"],
        "surface strength": strength["surface"],
        "as known": (row["lo"] > 0) == ((plant, task) in FOLLOWS),
    }


def main() -> None:
    """Prints one row a task, surface edit, plant and seed, and how many are as they are known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--surfaces", nargs="+", default=list(SURFACES))
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    rows = [
        measured(plant, task, surfaces, seed, given)
        for seed in given.seeds
        for task, surfaces in settings(given.surfaces)
        for plant in PLANTS
    ]
    frame = pd.DataFrame(rows)
    print(markdown(frame))
    by = frame.groupby(["task", "surface"], sort=False)["as known"]
    print("\n" + markdown(by.agg(["sum", "size"]).reset_index()))


if __name__ == "__main__":
    main()
