"""The cells of a study that computes potential outcomes: run by the engine, written as they come."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Generic

import numpy as np
import pandas as pd

from vlbias.causal.engine import Arm
from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.files import whole
from vlbias.outcomes import OUTCOMES, Outcome
from vlbias.runs.data_files import about_files, keyed_data
from vlbias.runs.events import Progress
from vlbias.runs.interfaces import Cell, Work
from vlbias.runs.manifest import described
from vlbias.store.cell_writer import CellWriter, cell_key
from vlbias.studies.arms.plan import ArmsPlan, S, targets_of
from vlbias.studies.arms.racing import Racer

__all__ = ["ArmsWork", "about_data", "about_model", "about_stages", "write_examples"]


class ArmsWork(Work, Generic[S]):
    """What all cells of a process share: the model, its engine, and the rows encoded once.

    Args:
        plan: The study.
        folder: The run folder.
        model: The loaded model.
    """

    def __init__(self, plan: ArmsPlan[S], folder: Path, model: StagedModel) -> None:
        self.folder, self.model = folder, model
        self.engine = plan.engine(model)
        self.plan = plan.counted(self.engine)
        self.outcomes: list[Outcome] = [
            OUTCOMES.load(name)(plan.dataset.classes) for name in plan.study.outcomes
        ]
        base = cell_key(self.determined_by())
        self._rounds = [[_cell(base, part) for part in parts] for parts in plan.rounds]
        self.cells = [cell for cells in self._rounds for cell in cells]
        self.racer = self.make_racer()

    @property
    def rounds(self) -> Sequence[Sequence[Cell]]:
        """See `Work.rounds`."""
        return self._rounds

    def begin(self, number: int) -> None:
        """See `Work.begin`: which units are left is found out once, and workers inherit it."""
        if self.racer is not None:
            self.racer.engine(self.engine, self.plan.rounds[number][0])

    def make_racer(self) -> Racer | None:
        """Who tells which units are left in a round, for a kind that can race."""
        return None

    @abstractmethod
    def keyed(self) -> Mapping[str, Any]:
        """The fields of the study that determine the numbers of a cell."""

    @abstractmethod
    def choices(self) -> Mapping[str, str]:
        """What was chosen for everything that the reference paper leaves open."""

    def determined_by(self) -> dict[str, Any]:
        """Everything that determines the numbers of the run; the key of every cell hashes it."""
        return {
            "study": self.keyed(),
            "model": self.model.name,
            "revision": self.model.revision,
            "data": keyed_data(self.folder, self.plan.dataset.content_hash, self.plan.files),
            "mediators": [str(mediator) for mediator in self.plan.mediators],
            "shared": [example.id for example in self.plan.examples],
            "version": version("vlbias"),
        }

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        study, cuts = self.plan.study, self.engine.cuts()
        return {
            **described(
                study, [cell.key for cell in self.cells], self.plan.rows, device=study.device
            ),
            **about_data(self.plan.dataset, self.folder, self.plan.files),
            **about_model(self.model),
            "targets": targets_of(study.outcomes, self.plan.dataset.classes),
            "stages": about_stages(self.model),
            "mediators": {
                mediator.name: {
                    "sites": [str(site) for site in mediator.sites],
                    "cut": mediator.name in cuts,
                }
                for mediator in self.plan.mediators
            },
            "contrasts": {
                pair.name: {
                    "alters": sorted(self.engine.altered[pair]),
                    "mediators": [mediator.name for mediator in self.engine.mediators_of(pair)],
                }
                for pair in study.pairs
            },
            "paper_unknowns": dict(self.choices()),
        }

    def write_samples(self) -> None:
        """See `Work.write_samples`."""
        write_examples(self.folder, self.plan.examples, self.plan.dataset.classes)

    def prepare(self, todo: Sequence[Cell], progress: Progress) -> tuple[str, ...]:
        """Encode what all examples share."""
        progress.events.note("encoding what all examples share")
        self.engine.share(self.plan.examples, cell=self.plan.study.shard_size)
        return ()

    def samples(self, part: Sequence[Example]) -> list[tuple[str, str]]:
        """See `Work.samples`."""
        return [(example.id, example.cluster) for example in part]

    def fill(self, key: str, part: Sequence[Example]) -> None:
        """See `Work.fill`."""
        samples = self.samples(part)
        writer = CellWriter(
            self.folder, key, model=self.model.name, mitigation="none", samples=samples
        )
        for arm in self.arms(key, part):
            _add(writer, arm, part, self.outcomes)
        _add_absent(writer, self.plan, part, self.outcomes)
        writer.close()

    def arms(self, key: str, part: Sequence[Example]) -> Iterator[Arm]:
        """The arms of a cell's examples; a kind that keeps more of them writes it on the way."""
        size, engine = self.plan.study.shard_size, self.engine
        if self.racer is not None:
            engine = self.racer.engine(self.engine, part)
        for start, mediated in product(range(0, len(part), size), (True, False)):
            shard = range(start, min(start + size, len(part)))
            numbers = [n for n in shard if self.plan.is_mediated(part[n]) is mediated]
            if numbers:
                for arm in engine.run([part[n] for n in numbers], mediated=mediated):
                    yield replace(arm, examples=tuple(numbers[row] for row in arm.examples))


def _cell(study: str, part: Sequence[Example]) -> Cell:
    return Cell(cell_key({"study": study, "samples": [one.id for one in part]}), part)


def about_model(model: StagedModel) -> dict[str, Any]:
    """What a manifest says of a model."""
    return {
        "model": {
            "name": model.name,
            "revision": model.revision,
            "parameters": sum(p.numel() for p in model.net.parameters()),
        }
    }


def about_stages(model: StagedModel) -> dict[str, Any]:
    """How the stages of a model are joined, as pictures of it are drawn."""
    return {
        stage.name: {
            "channels": list(tower.channels),
            "parents": list(stage.parents),
            "blocks": len(stage.blocks),
        }
        for tower in model.towers
        for stage in tower.stages
    }


def about_data(dataset: Any, folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest of a run folder says of the data."""
    about = {"content_hash": dataset.content_hash, "meta": dict(dataset.meta)}
    return {"data": about | about_files(folder, files)}


def write_examples(folder: Path, examples: Sequence[Example], classes: Sequence[str]) -> None:
    """Write samples.parquet, one row an example, and present.parquet, the targets truly there.

    Beside them nearest.parquet, the group of the person nearest to a target, where persons have groups.
    """
    attributes = pd.DataFrame([dict(example.attributes) for example in examples])
    samples = pd.DataFrame(
        {"sample_id": [e.id for e in examples], "cluster": [e.cluster for e in examples]}
    )
    with whole(folder / "samples.parquet") as temporary:
        pd.concat([samples, attributes], axis=1).to_parquet(temporary)
    known = set(classes)
    present = [(e.id, name) for e in examples for name in sorted(e.targets["present"] & known)]
    with whole(folder / "present.parquet") as temporary:
        pd.DataFrame(present, columns=["sample_id", "target"]).to_parquet(temporary)
    nearest = [
        (e.id, name, group)
        for e in examples
        for name, group in sorted(e.targets.get("nearest", ()))
        if name in known
    ]
    if nearest:
        with whole(folder / "nearest.parquet") as temporary:
            pd.DataFrame(nearest, columns=["sample_id", "target", "group"]).to_parquet(temporary)


def _add(
    writer: CellWriter, arm: Arm, examples: Sequence[Example], outcomes: Sequence[Outcome]
) -> None:
    chosen = [examples[row] for row in arm.examples]
    misaligned = arm.misaligned.numpy()
    status = np.where(misaligned, "misaligned", "ok").tolist()
    for outcome in outcomes:
        measure = outcome(arm.readout, chosen)
        value = np.where(misaligned[:, None], np.nan, measure.value)
        writer.add(
            {
                "contrast": arm.contrast.name,
                "mediator": arm.mediator,
                "arm": arm.arm,
                "outcome": outcome.name,
            },
            arm.examples,
            measure.targets,
            value,
            weight=measure.weight,
            status=status,
        )


def _add_absent(
    writer: CellWriter,
    plan: ArmsPlan[Any],
    examples: Sequence[Example],
    outcomes: Sequence[Outcome],
) -> None:
    """Rows of examples that lack a world of a contrast: NaN, with the reason as their status."""
    for pair in plan.study.pairs:
        needed = {pair.base, pair.cf}
        rows = [row for row, one in enumerate(examples) if not needed <= set(one.worlds)]
        if not rows:
            continue
        reasons = [
            "; ".join(
                examples[row].absent[w] for w in (pair.base, pair.cf) if w in examples[row].absent
            )
            for row in rows
        ]
        for outcome in outcomes:
            targets = outcome.targets
            for arm in ("00", "11"):
                names = {"contrast": pair.name, "mediator": "", "arm": arm, "outcome": outcome.name}
                empty = np.full((len(rows), len(targets)), np.nan)
                writer.add(names, rows, targets, empty, status=reasons)
