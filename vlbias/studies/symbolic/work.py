"""The cells of a study of symbolic mechanisms, each drawn by itself, and the ablation after them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from vlbias.files import whole, write_json
from vlbias.models import load_model
from vlbias.runs import interfaces
from vlbias.runs.events import QUIET, Events, Note, Progress, silent
from vlbias.runs.interfaces import Cell
from vlbias.runs.manifest import described
from vlbias.store.cell_writer import cell_key
from vlbias.studies.symbolic.ablation import ablation_rows
from vlbias.studies.symbolic.head_types import HEAD_TYPES, RULES
from vlbias.studies.symbolic.plan import Part, SymbolicPlan
from vlbias.studies.symbolic.solving import Drawer
from vlbias.studies.symbolic.steps import STEPS

__all__ = ["ABLATION", "Work", "estimate"]

ABLATION = "ablation.json"
_APART = ("name", "shard_size", "pairs")
"""Keys of a study that do not change the numbers of a cell, beside what its part says."""
_KEYS = {
    "accuracy": ("separator", "newline", "items", "lures"),
    "scores": ("separator", "newline", "items", "lures", "solved", "max_draws"),
    "map": ("separator", "newline", "items", "lures", "solved", "max_draws"),
    "probe": ("separator", "newline", "items", "lures", "probe_shots"),
}
"""Step to the keys of a study that its numbers depend on."""


class Work(interfaces.Work):
    """What all cells of a process share: the model, and what draws prompts for it.

    Args:
        plan: The study.
        folder: The run folder.
        note: Told what is being done.
    """

    def __init__(self, plan: SymbolicPlan, folder: Path, note: Note = silent) -> None:
        self.plan, self.folder, study = plan, folder, plan.study
        model: Any = load_model(
            study.model, device=study.device, dtype=study.dtype, random=study.random_weights
        )
        self.drawer = Drawer(model.scores_only(), study)
        self.cells = [Cell(self._key(part), part, ".json") for part in plan.parts]

    def _key(self, part: Part) -> str:
        study, model = self.plan.study, self.drawer.model
        return cell_key(
            {
                **study.model_dump(mode="json", include={*_KEYS[part.step], "seed", "dtype"}),
                "part": part.name,
                "count": part.count,
                "model": model.name,
                "revision": model.revision,
                "version": version("vlbias"),
            }
        )

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        study, model = self.plan.study, self.drawer.model
        port = next(port for port in model.ports if port.name == "head")
        return {
            **described(
                study, [cell.key for cell in self.cells], self.plan.rows, device=study.device
            ),
            "model": {
                "name": model.name,
                "revision": model.revision,
                "parameters": sum(p.numel() for p in model.net.parameters()),
                "layers": port.layers,
                "heads": port.units,
            },
            "data": {
                "content_hash": cell_key({"vocabulary": self.drawer.vocabulary.words}),
                "meta": {"reader": "identity rules", "funnel": {}},
            },
            "vocabulary": len(self.drawer.vocabulary.words),
        }

    def write_samples(self) -> None:
        """Write samples.parquet, one row a cell."""
        rows = [
            {"sample_id": part.name, "cluster": part.name, "count": part.count}
            for part in self.plan.parts
        ]
        with whole(self.folder / "samples.parquet") as temporary:
            pd.DataFrame(rows).to_parquet(temporary)

    def samples(self, part: Any) -> list[tuple[str, str]]:
        """See `Work.samples`."""
        return [(f"{part.name}-{number}", part.name) for number in range(part.count)]

    def fill(self, key: str, part: Any) -> None:
        """See `Work.fill`."""
        found = STEPS[part.step](self.drawer, part)
        said = {"step": part.step, "kind": part.kind, "rule": part.rule, "shots": part.shots}
        write_json(Cell(key, part, ".json").path(self.folder), {**said, **found})

    def n_extra(self, todo: Sequence[Cell]) -> int:
        """The ablation, where it is asked for and not done."""
        return int(bool(self.plan.study.ablation) and not self._is_ablated)

    @property
    def _is_ablated(self) -> bool:
        path = self.folder / ABLATION
        if not path.is_file():
            return False
        known = json.loads(path.read_text(encoding="utf-8"))
        return bool(known["determined_by"] == self._ablated_by())

    def _ablated_by(self) -> str:
        study = self.plan.study
        keys = {"ablation", "ablation_prompts", "ablation_draws", "seed"}
        scored = [cell.key for cell in self._scored]
        return cell_key({**study.model_dump(mode="json", include=keys), "scores": scored})

    @property
    def _scored(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.part.step == "scores"]  # type: ignore[attr-defined]

    def finish(self, progress: Progress) -> None:
        """Ablate the heads of highest score, once all scores are there."""
        if not self.n_extra(()) or not all(
            cell.path(self.folder).is_file() for cell in self._scored
        ):
            return
        progress.events.note("ablating heads")
        study, drawer = self.plan.study, self.drawer
        scores, known = _mean_scores(
            [json.loads(cell.path(self.folder).read_text()) for cell in self._scored]
        )
        prompts = []
        for place, rule in enumerate(RULES):
            prompts += _fresh(drawer, rule, study.ablation_prompts, known, (5, place))
        rows = list(ablation_rows(drawer, prompts, scores)) if prompts else []
        content = {"determined_by": self._ablated_by(), "prompts": len(prompts), "rows": rows}
        write_json(self.folder / ABLATION, content)
        progress.step()


def _fresh(
    drawer: Drawer, rule: str, wanted: int, known: frozenset[str], key: tuple[int, ...]
) -> list[Any]:
    """Solved prompts that no score was computed from; fewer if the study's draws do not give more."""
    found: list[Any] = []
    for number in range(drawer.study.max_draws):
        drawn = drawer.prompts(rule, drawer.study.format, wanted, *key, number)
        solved = drawer.solves(drawn)
        found += [p for p, fine in zip(drawn, solved, strict=True) if fine and p.text not in known]
        if len(found) >= wanted:
            break
    return found[:wanted]


def _mean_scores(cells: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], frozenset[str]]:
    """Mean scores [layers, heads] of each type, and the prompts that they are of."""
    scores = {}
    for kind in HEAD_TYPES:
        parts = [np.array(c["scores"][kind.site]) for c in cells if c["kind"] == kind.pairs]
        scores[kind.name] = np.concatenate(parts, axis=2).mean(axis=(2, 3))
    return scores, frozenset(text for cell in cells for text in cell["prompts"])


def estimate(plan: SymbolicPlan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line, from one pair of each kind."""
    study = plan.study
    yield f"cells {len(plan.parts)}, {study.pairs} solved pairs for each base rule"
    with TemporaryDirectory() as folder:
        work = Work(plan, Path(folder), events.note)
    events.note("timing one pair of each kind")
    seconds = 0.0
    for kind in ("abstract", "token"):
        part = next(part for part in plan.parts if part.kind == kind and part.step == "scores")
        began = time.monotonic()
        STEPS["scores"](work.drawer, Part("scores", kind, part.rule, 0, 1, part.shots))
        seconds += (time.monotonic() - began) * study.pairs * (1 if kind == "abstract" else 2)
    yield (
        f"estimated time {seconds / 60:.1f} min on {study.device} for scores in one process, with drawing "
        "solved pairs; accuracy, map, attention and ablation come on top"
    )
