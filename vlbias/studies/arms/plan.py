"""The checked plan of a study that computes potential outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Generic, TypeVar

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel
from vlbias.data.gender_labels import funnel_in_lines
from vlbias.errors import BadStudy
from vlbias.outcomes import OUTCOMES
from vlbias.runs.interfaces import Plan
from vlbias.studies.arms.study import ArmsStudy

__all__ = ["ArmsPlan", "S", "refuse_outcomes", "targets_of"]

S = TypeVar("S", bound=ArmsStudy)


@dataclass(frozen=True)
class ArmsPlan(Plan, Generic[S]):
    """A checked study of potential outcomes.

    Args:
        study: The study.
        dataset: Its photos or texts; has `classes`, `meta` and `content_hash`.
        examples: In their worlds, those of the asked splits and groups.
        mediators: With wildcards resolved.
        altered: Contrast to the channels in which its worlds differ.
        unit: What an example is called, in the plural.
        mediated: Ids of the examples that are run with mediators; all if None.
        rows: Of the long table, exactly; at most where units are raced.
        files: See `Plan.files`.
        shards_per_cell: Shards in one file.
    """

    study: S
    dataset: Any
    examples: tuple[Example, ...]
    mediators: tuple[Mediator, ...]
    altered: Mapping[Contrast, frozenset[str]]
    unit: str
    mediated: frozenset[str] | None = None
    rows: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    shards_per_cell: int = 1

    @property
    def funnel(self) -> str:
        """See `Plan.funnel`."""
        return funnel_in_lines(self.dataset.meta["funnel"])

    @property
    def summary(self) -> str:
        """See `Plan.summary`."""
        return f"{len(self.examples)} {self.unit}"

    @property
    def device(self) -> str:
        """See `Plan.device`."""
        return self.study.device

    @property
    def n_parts(self) -> int:
        """See `Plan.n_parts`."""
        return len(self.cells)

    @property
    def cells(self) -> list[tuple[Example, ...]]:
        """The examples of each cell."""
        return [cell for cells in self.rounds for cell in cells]

    @property
    def rounds(self) -> list[list[tuple[Example, ...]]]:
        """The examples of each cell of each round; one round if nothing is raced."""
        size = self.study.shard_size * self.shards_per_cell
        if self.study.racing is None:
            parts = [self.examples]
        else:
            together = groupby(self.examples, key=lambda one: one.attributes["round"])
            parts = [tuple(some) for _, some in together]
        return [[some[i : i + size] for i in range(0, len(some), size)] for some in parts]

    @property
    def units(self) -> int:
        """See `Plan.units`."""
        return -(-len(self.examples) // self.study.shard_size)

    def with_units(self, chosen: Sequence[int]) -> ArmsPlan[S]:
        """See `Plan.with_units`."""
        size = self.study.shard_size
        few = [one for i in chosen for one in self.examples[i * size : (i + 1) * size]]
        return replace(self.unraced(), examples=tuple(few))

    def unraced(self) -> ArmsPlan[S]:
        """The plan with all units in all rounds: the most that it can take."""
        return replace(self, study=self.study.model_copy(update={"racing": None}))

    def with_units_per_cell(self, count: int) -> ArmsPlan[S]:
        """See `Plan.with_units_per_cell`."""
        return replace(self, shards_per_cell=count)

    def is_mediated(self, example: Example) -> bool:
        """Whether an example is run with mediators."""
        return self.mediated is None or example.id in self.mediated

    def engine(self, model: StagedModel) -> Engine:
        """The engine that runs the plan on a model, or on its outline to count."""
        return Engine(
            model,
            self.study.pairs,
            self.mediators,
            altered=self.altered,
            unmediated=self.study.pairs_unmediated,
            mediator_batch=self.study.mediator_batch,
        )

    def counted(self, engine: Engine) -> ArmsPlan[S]:
        """The plan with the exact number of rows that an engine fills."""
        targets = sum(
            len(OUTCOMES.load(name)(self.dataset.classes).targets) for name in self.study.outcomes
        )
        mediators = {pair: len(engine.mediators_of(pair)) for pair in self.study.pairs}
        rows = 0
        for example in self.examples:
            worlds, mediated = set(example.worlds), self.is_mediated(example)
            for pair, count in mediators.items():
                whole = mediated and {pair.base, pair.cf} <= worlds
                rows += targets * (2 + 2 * count if whole else 2)
        return replace(self, rows=rows)


def refuse_outcomes(outcomes: Sequence[str], outline: StagedModel) -> None:
    """Nothing, if a model gives what the outcomes need.

    Raises:
        BadStudy: names the outcome.
        UnknownName: if there is no such outcome.
    """
    for name in outcomes:
        needs = OUTCOMES.load(name)(()).needs
        if not needs <= outline.gives:
            raise BadStudy(
                "outcomes", name, f"an outcome that {outline.name} gives: {sorted(outline.gives)}"
            )


def targets_of(outcomes: Sequence[str], classes: tuple[str, ...]) -> list[str]:
    """Names of the targets of several outcomes, without repeats."""
    every = (target for name in outcomes for target in OUTCOMES.load(name)(classes).targets)
    return list(dict.fromkeys(every))
