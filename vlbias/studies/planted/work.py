"""The cells of a study of planted models: scenes, a study of bias on them, and every method's answer."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from vlbias.data.scene_folder import write_scenes
from vlbias.data.scenes import SceneSpec
from vlbias.files import hash_of_weights, whole, write_json
from vlbias.models import MODELS, load_model
from vlbias.runs.events import QUIET, Events, Note, Progress, silent
from vlbias.runs.interfaces import Cell
from vlbias.runs.interfaces import Work as AnyWork
from vlbias.runs.manifest import described, updated
from vlbias.store.cell_writer import cell_key
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.arms.plan import ArmsPlan
from vlbias.studies.photos.scores import PresenceScores
from vlbias.studies.planted.methods import METHODS, Job
from vlbias.studies.planted.plan import Part, PlantedPlan
from vlbias.studies.planted.plants import ENCODERS, FAMILIES, MASKED, PLACEBO, TRUTH, model_name

__all__ = ["Work", "estimate"]

_FIRST_SEED = 5000  # far from the seeds that the models were trained and checked on
_FEW = 200  # scenes that are timed for an estimate


class Work(AnyWork):
    """What all cells of a process share: the revisions of the models, and the scenes.

    Below the run folder stand `scenes`, a folder for each set, and `runs`, a study of bias for each cell.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
    """

    def __init__(self, plan: PlantedPlan, folder: Path, note: Note = silent) -> None:
        self.plan, self.folder = plan, folder
        self.revisions = {plant: _revision(plan.study.family, plant) for plant in TRUTH}
        draws = plan.study.draws
        self.cells = [
            Cell(cell_key({**self._determined_by(part), "draws": draws}), part, ".json")
            for part in plan.parts
        ]

    def _determined_by(self, part: Part) -> dict[str, Any]:
        """What determines the potential outcomes of a cell."""
        return {
            "model": model_name(self.plan.study.family, part.plant),
            "revision": self.revisions[part.plant],
            "version": version("vlbias"),
            **asdict(part),
        }

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        study = self.plan.study
        return {
            **described(study, [cell.key for cell in self.cells], self.plan.rows),
            "model": {
                "name": f"planted-{study.family}",
                "revision": cell_key(self.revisions),
                "revisions": self.revisions,
            },
            "data": {
                "content_hash": cell_key({"scenes": [asdict(part) for part in self.plan.parts]}),
                "meta": {"reader": "scenes", "funnel": {}},
            },
        }

    def resumed(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
        """See `Work.resumed`; a folder takes more sets of the same family, and keeps those it has."""
        same = before["study"].get("family") == now["study"]["family"]
        return updated(before, now) if same else None

    def write_samples(self) -> None:
        """Write samples.parquet, one row for each model and set of scenes."""
        rows = [
            {"sample_id": sample, "cluster": cluster, "plant": part.plant}
            for part in self.plan.parts
            for sample, cluster in self.samples(part)
        ]
        with whole(self.folder / "samples.parquet") as temporary:
            pd.DataFrame(rows).to_parquet(temporary)

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """The model and set of scenes of a cell; sets of one seed are the same scenes."""
        return [(f"{part.plant}/{part.seed}", str(part.seed))]

    def prepare(self, todo: Sequence[Cell], progress: Progress) -> Collection[str]:
        """Render the scenes that several cells share."""
        parts: list[Any] = [cell.part for cell in todo]
        for part in {part.seed: part for part in parts}.values():
            path, seed = self._scenes(part), _FIRST_SEED + part.seed
            if not (path / "scenes.json").is_file():
                progress.events.note(f"rendering set {part.seed} of {len(part)} scenes")
                write_scenes(path, SceneSpec(photos=len(part), seed=seed, co_occurrence=0.0))
        return ()

    def fill(self, key: str, part: Any) -> None:
        """See `Work.fill`."""
        family = self.plan.study.family
        rows = [
            {"family": family, "plant": part.plant, "seed": part.seed, **said}
            for said in self._said(part)
        ]
        write_json(Cell(key, part, ".json").path(self.folder), rows)

    def _scenes(self, part: Part) -> Path:
        return self.folder.resolve() / "scenes" / f"{part.seed}-{part.photos}"

    def _said(self, part: Part) -> Iterator[dict[str, Any]]:
        """What every method says of each encoder."""
        study = lifecycle.parse_study(self._bias_study(part))
        plan = lifecycle.make_plan(study)
        assert isinstance(plan, ArmsPlan)
        result = lifecycle.run_plan(plan, self.folder / "runs")
        scores = PresenceScores(Run(result.folder), draws=self.plan.study.draws, seed=part.seed)
        job = Job(plan.examples, load_model(plan.study.model), scores)
        for method, say in METHODS.items():
            for said in say(job):
                yield {"method": method, **asdict(said)}

    def _bias_study(self, part: Part) -> dict[str, Any]:
        """The study of bias of a cell, as TOML gives it."""
        family = self.plan.study.family
        scenes = {"name": "scenes", "path": self._scenes(part), "splits": ("fit", "dev", "test")}
        return {
            "kind": "bias",
            "name": f"{part.plant}-{part.seed}-{cell_key(self._determined_by(part))[:8]}",
            "model": model_name(family, part.plant),
            "prompt": FAMILIES[family],
            "dataset": scenes,
            "contrasts": (MASKED, PLACEBO),
            "mediators": ENCODERS,
            "operating_point": {
                "rule": "fpr",
                "value": 0.1,
                "split": "dev",
                "report": ("fit", "test"),
            },
            "shard_size": 100,
            "seed": part.seed,
        }


def estimate(plan: PlantedPlan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line: cells, and time from two cells of different sizes."""
    yield f"cells {len(plan.parts)}, {plan.study.photos} scenes each"
    events.note("timing two small ones")
    load_model(model_name(plan.study.family, "image"))  # loading its library takes longer
    few, more = (_seconds(plan, scenes) for scenes in (_FEW, 2 * _FEW))
    each = max(more - few, 0.0) / _FEW
    fixed = max(few - each * _FEW, 0.0)  # loading and tests, whatever the size
    seconds = sum(fixed + each * len(part) for part in plan.parts)
    yield (
        f"estimated time {seconds / 60:.1f} min on cpu in one process (from {_FEW} and {2 * _FEW} "
        "scenes)"
    )


def _seconds(plan: PlantedPlan, scenes: int) -> float:
    """How long a cell of so many scenes takes."""
    part = Part("image", plan.parts[0].seed, scenes)
    with TemporaryDirectory() as folder:
        work = Work(plan, Path(folder))
        (work.folder / "cells").mkdir()
        cell = Cell("timed", part, ".json")
        began = time.monotonic()
        work.prepare([cell], Progress(QUIET, 0, 1))
        work.fill(cell.key, part)
        return time.monotonic() - began


def _revision(family: str, plant: str) -> str:
    entry = MODELS.entry(model_name(family, plant))
    return hash_of_weights(Path(dict(entry.options)["checkpoint"]))
