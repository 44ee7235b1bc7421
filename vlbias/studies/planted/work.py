"""The planted-bias benchmark: models whose bias is known, and what each method says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlbias.analysis.inference import student
from vlbias.data.scene_folder import write_scenes
from vlbias.data.scenes import SceneSpec
from vlbias.errors import BadStudy, UnknownName
from vlbias.files import hash_of_weights, write_json
from vlbias.models import MODELS
from vlbias.runs.lock import locked
from vlbias.runs.runner import QUIET, Events, model_of, run_plan
from vlbias.runs.study import Study
from vlbias.store.run_folder import Run
from vlbias.studies.arms.plan import make_plan
from vlbias.studies.photos.scores import Numbers
from vlbias.studies.planted.methods import ENCODERS, MASKED, METHODS, PLACEBO, Job

__all__ = ["FAMILIES", "TRUTH", "Benchmark", "benchmark_planted", "summary"]

TRUTH = {
    "image": {"image_encoder"},
    "text": {"text_encoder"},
    "both": {"image_encoder", "text_encoder"},
    "unbiased": set[str](),
}
"""Plant to the encoders through which its bias comes."""
FAMILIES = {"dual": "template", "detector": "template+categories"}
"""Family to the prompt its models were trained with."""
QUIET_SEEDS = 4  # times as many sets of scenes for the model that should say nothing
FIRST_SEED = 5000  # far from the seeds that the models were trained and checked on


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark found.

    Args:
        table: One row per model, seed, method and encoder: printed, change, share, named, right.
        summary: One row per method and plant.
        path: The table as CSV.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    path: Path


def benchmark_planted(
    out: Path,
    *,
    family: str = "dual",
    seeds: int = 5,
    photos: int = 1000,
    draws: int = 1000,
    events: Events = QUIET,
) -> Benchmark:
    """Score every method on the planted models of a family; the same call goes on after a kill.

    Args:
        out: A folder `planted-<family>` is made here.
        family: One of `FAMILIES`.
        seeds: Sets of scenes for each model; four times as many for the unbiased one.
        photos: Scenes in a set; a fifth of them sets thresholds, four fifths are reported.
        draws: Resampling draws of the effects' tests.
        events: Who watches.

    Raises:
        UnknownName: if there is no such family.
        BadStudy: if seeds or photos are too few, or vlbias comes without a model of the family.
        FolderInUse: if another process works on the same benchmark.
    """
    if family not in FAMILIES:
        raise UnknownName("family of planted models", family, FAMILIES)
    for field, value, least in (("seeds", seeds, 2), ("photos", photos, 200)):
        if value < least:
            raise BadStudy(field, value, f"{least} or more")
    lacking = [name for plant in TRUTH if (name := f"planted-{family}-{plant}") not in MODELS]
    if lacking:
        raise BadStudy("family", family, f"a whole family; there is no {', '.join(lacking)}")
    folder = out / f"planted-{family}"
    with locked(folder, note=events.note):
        table = _table(folder, family, seeds, photos, draws, events)
        table.to_csv(folder / "benchmark.csv", index=False)
        found_summary = summary(table)
        found_summary.to_csv(folder / "summary.csv", index=False)
    return Benchmark(table, found_summary, folder / "benchmark.csv")


def _table(
    folder: Path, family: str, seeds: int, photos: int, draws: int, events: Events
) -> pd.DataFrame:
    """What every method says of every model and seed, judged."""
    cells = [
        (plant, seed)
        for plant in TRUTH
        for seed in range(seeds * (1 if TRUTH[plant] else QUIET_SEEDS))
    ]
    rows: list[dict[str, Any]] = []
    for done, (plant, seed) in enumerate(cells):
        events.cells(done, len(cells), photos)
        study = _study(family, plant, seed, photos, folder)
        path = folder / "scored" / f"{study.name}-{draws}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, list(_scored(study, folder, draws)))
        known = json.loads(path.read_text())
        rows += [{"family": family, "plant": plant, "seed": seed, **row} for row in known]
    events.cells(len(cells), len(cells), photos)
    return _judged(pd.DataFrame(rows))


def _study(family: str, plant: str, seed: int, photos: int, folder: Path) -> Study:
    model = f"planted-{family}-{plant}"
    revision = _revision(model).rpartition(":")[2][:8]
    return Study.parse(
        {
            "name": f"{plant}-{revision.rpartition(':')[2][:8]}-{seed}-{photos}",
            "model": model,
            "prompt": FAMILIES[family],
            "dataset": {
                "name": "scenes",
                "path": folder / "scenes" / f"{seed}-{photos}",
                "splits": ("fit", "dev", "test"),
            },
            "contrasts": (MASKED, PLACEBO),
            "mediators": ENCODERS,
            "operating_point": {
                "rule": "fpr",
                "value": 0.1,
                "split": "dev",
                "report": ("fit", "test"),
            },
            "shard_size": 100,
            "seed": seed,
        }
    )


def _revision(model: str) -> str:
    return hash_of_weights(Path(dict(MODELS.entry(model).options)["checkpoint"]))


def _scored(study: Study, folder: Path, draws: int) -> Iterator[dict[str, Any]]:
    path = study.dataset.path
    assert path is not None
    if not (path / "scenes.json").is_file():
        spec = SceneSpec(
            photos=int(path.name.split("-")[1]), seed=FIRST_SEED + study.seed, co_occurrence=0.0
        )
        write_scenes(path, spec)
    plan = make_plan(study)
    result = run_plan(plan, folder / "runs")
    numbers = Numbers(Run(result.folder), draws=draws, seed=study.seed)
    job = Job(plan, model_of(plan), numbers)
    for method, say in METHODS.items():
        for said in say(job):
            yield {"method": method, **asdict(said)}


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """With the share of each encoder in what both change, and whether what is named is the truth."""
    cell = ["method", "plant", "seed"]
    size = table["change"].abs()
    total = size.groupby([table[name] for name in cell]).transform("sum")
    table = table.assign(share=np.where(total > 0, size / total, 0.0))
    named = table[table["named"]].groupby(cell)["encoder"].agg(set).to_dict()
    right = [
        named.get(key, set()) == TRUTH[key[1]]
        for key in table[cell].itertuples(index=False, name=None)
    ]
    return table.assign(right=right)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per method and plant: how often right, and the share of the wrong encoder with limits.

    Limits are Student's over seeds, whose scenes are independent; clipped to shares.
    """
    rows = []
    for (method, plant), part in table.groupby(["method", "plant"], sort=False):
        wrong = part[~part["encoder"].isin(TRUTH[str(plant)])]
        cells = part.drop_duplicates("seed")
        row = {
            "method": method,
            "plant": plant,
            "right": int(cells["right"].sum()),
            "seeds": len(cells),
            "printed": float(cells["printed"].mean()),
            "wrong_share": np.nan,
            "lo": np.nan,
            "hi": np.nan,
        }
        if len(TRUTH[str(plant)]) == 1:
            shares = wrong["share"].to_numpy(float)
            found = student(shares, np.ones(len(shares), dtype=np.intp))
            row |= {
                "wrong_share": found.estimate,
                "lo": max(found.lo, 0.0),
                "hi": min(found.hi, 1.0),
            }
        rows.append(row)
    return pd.DataFrame(rows)
