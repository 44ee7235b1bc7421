"""Potential outcomes Y(a, M(b)) of examples, for every contrast of worlds and every mediator.

Arm "01" is the base input with the mediator of the other world, "10" the reverse; "00" and "11" are
the two worlds themselves and do not depend on a mediator. Effects are arithmetic on these
(analysis), never computed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlbias.causal.contrast import Contrast
from vlbias.causal.contrast_rows import ContrastRows, Recurrence, collect_rows
from vlbias.causal.example import Example, channel_key
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import Encoded, Readout, StagedModel, Tower
from vlbias.causal.sweep import Sweep, SweepPlan
from vlbias.causal.tower_rows import Rows, sweep_rows
from vlbias.causal.turns import in_turn

__all__ = ["Arm", "Engine", "altered_channels", "take_shared"]


@dataclass(frozen=True)
class Arm:
    """One potential outcome of some examples.

    Args:
        contrast: Which two worlds.
        mediator: Name; empty for the arms "00" and "11".
        arm: World of the direct input, world of the mediator: "00", "11", "01" or "10".
        examples: Which of the batch's examples the readout's rows are.
        readout: Rows of these examples; values of misaligned rows are NaN.
        misaligned: Which of these rows could take no value of the other world, [rows].
    """

    contrast: Contrast
    mediator: str
    arm: str
    examples: tuple[int, ...]
    readout: Readout
    misaligned: Tensor


def altered_channels(
    examples: Sequence[Example], contrasts: Sequence[Contrast]
) -> dict[Contrast, frozenset[str]]:
    """The channels in which the two worlds of each contrast differ for any of the examples."""
    return {
        contrast: frozenset(
            channel
            for example in examples
            if {contrast.base, contrast.cf} <= set(example.worlds)
            for channel, value in example.worlds[contrast.base].items()
            if channel_key(value) != channel_key(example.worlds[contrast.cf][channel])
        )
        for contrast in contrasts
    }


class Engine:
    """Runs examples through a model's towers and joins them; threads on one model take turns.

    Args:
        model: The model.
        contrasts: Pairs of worlds.
        mediators: What is exchanged between the two worlds; sites may lie in several towers.
        altered: Channels that each contrast alters; `altered_channels` finds them.
        unmediated: Those of the contrasts that are run without mediators.
        mediator_batch: At most so many jobs run as rows of one batch.
        one_way: Whether arm "10" is left out: the base input alone takes mediators of the other world.
    """

    def __init__(
        self,
        model: StagedModel,
        contrasts: Sequence[Contrast],
        mediators: Sequence[Mediator],
        *,
        altered: Mapping[Contrast, frozenset[str]],
        unmediated: Sequence[Contrast] = (),
        mediator_batch: int = 64,
        one_way: bool = False,
    ) -> None:
        self.model, self.contrasts, self.one_way = model, tuple(contrasts), one_way
        self.mediators, self.altered = tuple(mediators), dict(altered)
        self.unmediated = frozenset(unmediated)
        homes = {stage.name: tower.name for tower in model.towers for stage in tower.stages}
        self._homes = {
            mediator.name: frozenset(homes[site.stage] for site in mediator.sites)
            for mediator in self.mediators
        }
        self.plans = {
            tower.name: SweepPlan(
                model, tower, _within(tower, self.mediators, homes), mediator_batch
            )
            for tower in model.towers
        }
        self._cut = {
            name: frozenset(part.name for part in plan.mediators if plan.is_cut(part))
            for name, plan in self.plans.items()
        }
        self._photos = PhotoSizes(model)
        self._shared: dict[str, tuple[Rows, Sweep]] = {}

    def cuts(self) -> frozenset[str]:
        """Mediators that cut every tower they touch, so that NIE = TE by construction."""
        return frozenset(
            mediator.name
            for mediator in self.mediators
            if all(mediator.name in self._cut[home] for home in self._homes[mediator.name])
        )

    def share(
        self, examples: Sequence[Example], *, cell: int = 1, batch_rows: int = 128
    ) -> tuple[str, ...]:
        """Encode once, for all calls to come, the towers whose rows recur here; gives their names.

        A tower is shared when its distinct rows are fewer than half of those that contrasts use, example
        by example. One that reads photos must also have each row in two cells on average.

        Args:
            examples: All that will be run.
            cell: So many of them, in this order, are run at a time.
            batch_rows: About so many rows are recorded at once.
        """
        with in_turn(self.model):
            for tower in self.model.towers:
                rows = Rows()
                self._collect(examples, {tower.name: rows})
                recurrence = Recurrence(self.model, tower, self.contrasts, examples)
                if batch := recurrence.batch(len(rows.values), cell, batch_rows):
                    self._shared[tower.name] = (rows, self._sweep(tower, rows, batch))
                    rows.close()
            return tuple(self._shared)

    def run(self, examples: Sequence[Example], *, mediated: bool = True) -> Iterator[Arm]:
        """All arms of these examples, contrast by contrast; not `mediated`, "00" and "11" alone.

        Examples that lack one of a contrast's worlds are left out of that contrast's rows. A mediator
        is left out of a contrast that alters no channel it can see: its effects are zero.

        Raises:
            BadData: if a tower is shared and a row of these examples was not among those shared.
        """
        with in_turn(self.model):
            rows = {
                tower.name: self._shared[tower.name][0] if tower.name in self._shared else Rows()
                for tower in self.model.towers
            }
            wanted = self._collect(examples, rows, mediated)
            sweeps = {name: sweep for name, (_, sweep) in self._shared.items()}
            for tower in self.model.towers:
                if tower.name not in sweeps and rows[tower.name].values:
                    size = len(rows[tower.name].values)
                    sweeps[tower.name] = self._sweep(tower, rows[tower.name], size)
        for contrast, sides in wanted.items():
            mediators = self.mediators_of(contrast) if mediated else []
            yield from self._contrast(contrast, mediators, sides, rows, sweeps)

    def _collect(
        self, examples: Sequence[Example], rows: Mapping[str, Rows], mediated: bool = True
    ) -> dict[Contrast, ContrastRows]:
        unmediated = self.unmediated if mediated else frozenset(self.contrasts)
        given = (self.model, self.contrasts, examples, rows)
        return collect_rows(*given, unmediated=unmediated, one_way=self.one_way)

    def _sweep(self, tower: Tower, rows: Rows, batch_rows: int) -> Sweep:
        return sweep_rows(self.plans[tower.name], rows, batch_rows, self._photos)

    def _join(self, values: Mapping[str, Encoded], index: Mapping[str, Tensor]) -> Readout:
        with in_turn(self.model):
            return self.model.join(values, index)

    def _contrast(
        self,
        contrast: Contrast,
        mediators: Sequence[Mediator],
        sides: ContrastRows,
        rows: Mapping[str, Rows],
        sweeps: Mapping[str, Sweep],
    ) -> Iterator[Arm]:
        values = {name: sweep.encoded for name, sweep in sweeps.items()}
        fine = torch.zeros(len(sides.examples), dtype=torch.bool)
        yield Arm(contrast, "", "00", sides.examples, self._join(values, sides.base), fine)
        yield Arm(contrast, "", "11", sides.examples, self._join(values, sides.cf), fine)
        ways = [("01", sides.base, sides.cf), ("10", sides.cf, sides.base)]
        for arm, mine, other in (ways[:1] if self.one_way else ways) if mediators else ():
            pairs = {name: rows[name].pairs_of(mine[name], other[name]) for name in rows}
            for mediator in mediators:
                homes = self._homes[mediator.name]
                index = {name: pairs[name] if name in homes else mine[name] for name in rows}
                own = {name: sweeps[name].patched[mediator.name] for name in homes}
                patched, misaligned = {**values, **own}, fine.clone()
                for name in homes:
                    if mediator.name not in self._cut[name]:
                        misaligned |= ~sweeps[name].aligned.cpu()[pairs[name]].all(1)
                readout = self._join(patched, index)
                yield Arm(contrast, mediator.name, arm, sides.examples, readout, misaligned)

    def mediators_of(self, contrast: Contrast) -> list[Mediator]:
        """The mediators that are run in a contrast: those that see a channel it alters."""
        if contrast in self.unmediated:
            return []
        channels = self.altered.get(contrast, frozenset())
        reached = {tower.name for tower in self.model.towers if channels & set(tower.channels)}
        # a contrast that alters nothing is the check that every effect is exactly zero
        return [m for m in self.mediators if not channels or self._homes[m.name] & reached]


def take_shared(engine: Engine, other: Engine) -> None:
    """Use what another engine of the same model encoded for all calls; it has these mediators, and more."""
    engine._shared = other._shared


def _within(
    tower: Tower, mediators: Sequence[Mediator], homes: Mapping[str, str]
) -> list[Mediator]:
    """The mediators with the sites that lie in a tower; those without any are left out."""
    sites = {
        one.name: tuple(site for site in one.sites if homes[site.stage] == tower.name)
        for one in mediators
    }
    return [Mediator(name, inside) for name, inside in sites.items() if inside]
