"""Units race: after each round, those that are settled are run no more.

What flows through which files. `in_rounds` gives every sample that is run with mediators a round, drawn by the
seed and by cluster, and sorts the samples by it; `samples.parquet` has the round as a column. A cell has
samples of one round, and its key is fixed before anything runs: which units it holds follows from cells whose
keys are fixed too. A round is begun when all cells of the rounds before it are there (`runs.rounds` sees to
that; machines wait for each other). Then each worker reads those cells by itself, and `analysis.racing` tells
from them which units are left; it draws with the study's seed, so that all workers, a resumed run and the page
find the same. What makes predictions sharper, approximate changes of all samples by gradient attribution, is
computed when the second round is begun, and written to `racing/NUMBER.parquet` by who is first; everybody reads
that file. A unit that left has no rows in later cells.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vlbias.causal.attribution import Score, attributions
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, take_shared
from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy
from vlbias.runs.events import Note
from vlbias.store.run_folder import Run
from vlbias.studies.arms.plan import ArmsPlan, S
from vlbias.studies.arms.raced_units import Values, approximate_file, race_of, raced_contrasts

__all__ = ["Racer", "in_rounds"]

_LEAST = 20
"""Clusters of the first round."""


def in_rounds(plan: ArmsPlan[S]) -> ArmsPlan[S]:
    """The plan with its samples in rounds, if it is raced; those without mediators come before all.

    Raises:
        BadStudy: if there are no units, or too few samples for so many rounds.
    """
    racing = plan.study.racing
    if racing is None:
        return plan
    if not any(len(m.sites) == 1 and m.sites[0].units is not None for m in plan.mediators):
        given = ", ".join(plan.study.mediators)
        raise BadStudy("racing", given, "mediators with units, 'lm/head.*[*]'")
    clusters = sorted({one.cluster for one in plan.examples if plan.is_mediated(one)})
    first = len(clusters) / 2 ** (racing.rounds - 1)
    if first < _LEAST:
        raise BadStudy(
            "racing.rounds",
            racing.rounds,
            f"fewer rounds, or more samples: the first of {racing.rounds} rounds has {first:.0f} of "
            f"{len(clusters)} clusters, and needs {_LEAST}",
        )
    order = np.random.default_rng(plan.study.seed).permutation(len(clusters))
    ends = len(clusters) * 2.0 ** np.arange(1 - racing.rounds, 1)
    places = np.searchsorted(ends, np.arange(len(clusters)), side="right") + 1
    round_of = {clusters[number]: place for number, place in zip(order, places, strict=True)}
    named = [
        replace(one, attributes={**one.attributes, "round": str(number)})
        for one in plan.examples
        for number in [round_of[one.cluster] if plan.is_mediated(one) else 0]
    ]
    ranked = sorted(named, key=lambda one: int(one.attributes["round"]))
    return replace(plan, examples=tuple(ranked))


@dataclass
class Racer:
    """Tells which units are left in a round, from the cells of the rounds before it.

    Args:
        plan: In rounds.
        folder: The run folder.
        model: The loaded model.
        values: What is raced.
        score: Of a contrast, what attribution differentiates; its change is the values'.
        note: Told what is being done.
    """

    plan: ArmsPlan[Any]
    folder: Path
    model: StagedModel
    values: Values
    score: Callable[[Run, str], Score]
    note: Note
    _engines: dict[int, Engine] = field(default_factory=dict)

    def engine(self, every: Engine, part: Sequence[Example]) -> Engine:
        """The engine of a cell's round, with the units that are left.

        Args:
            every: With all mediators.
            part: The cell's examples, all of one round.
        """
        place = int(part[0].attributes["round"])
        if place < 2:
            return every
        if place not in self._engines:
            gone = self._left(place - 1)
            kept = tuple(m for m in self.plan.mediators if m.name not in gone)
            engine = replace(self.plan, mediators=kept).engine(self.model)
            take_shared(engine, every)
            self._engines = {place: engine}
        return self._engines[place]

    def _left(self, rounds: int) -> frozenset[str]:
        """Units that are settled after so many rounds, in every contrast that they are in."""
        run, running, units = Run(self.folder), set[str](), set[str]()
        for contrast, names in raced_contrasts(run).items():
            if run.manifest["study"]["racing"]["gradients"]:
                self._approximate(run, contrast, names)
            found = race_of(run, contrast, self.values, rounds)
            units |= set(names)
            running |= {name for name, on in zip(names, found.running, strict=True) if on}
        self.note(f"racing: {len(running)} of {len(units)} units are left after round {rounds}")
        return frozenset(units - running)

    def _approximate(self, run: Run, contrast: str, names: list[str]) -> None:
        """Write the approximate changes of a contrast, unless they are there."""
        path = approximate_file(run, contrast)
        if path.is_file():
            return
        examples = [one for one in self.plan.examples if one.attributes["round"] != "0"]
        self.note(f"racing: approximate effects of {contrast}, {len(examples)} {self.plan.unit}")
        known = {mediator.name: mediator for mediator in self.plan.mediators}
        found = attributions(
            self.model,
            examples,
            Contrast.parse(contrast),
            [known[name] for name in names],
            of=self.score(run, contrast),
        )
        table = pd.DataFrame(torch.stack(list(found)).numpy().astype(np.float32), columns=names)
        table.insert(0, "sample_id", [one.id for one in examples])
        path.parent.mkdir(exist_ok=True)
        own = path.with_name(f".{path.name}.{os.getpid()}")
        table.to_parquet(own, write_page_checksum=True)
        try:
            os.link(own, path)
        except FileExistsError:
            self.note("another process was first: its approximate effects are taken")
        finally:
            own.unlink()
