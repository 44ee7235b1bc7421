"""Many mediators of one tower at once: recorded rows, ordered pairs of them, one replacement each.

For rows i and j, the job (i, j) of a mediator runs the tower on row i with the mediator's value taken
from row j. All potential outcomes of a tower are such jobs: Y(0, M(1)) is the job (base, cf),
Y(1, M(0)) the job (cf, base). Jobs of one entry point are rows of one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.call_order import Trace, trace
from vlbias.causal.entry_groups import EntryGroup, entry_groups, patch_target
from vlbias.causal.hooks import tree_fill_nan_, tree_index_select
from vlbias.causal.jobs import Jobs
from vlbias.causal.mediator_jobs import run_mediators
from vlbias.causal.patching import PatchTarget, aligned_pairs
from vlbias.causal.shared_beginnings import encode_beginnings
from vlbias.causal.shared_prefix import first_replaced, narrowed, views
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import Batch, Encoded, StagedModel, Tower
from vlbias.causal.tape import Tape, record
from vlbias.causal.tower_cut import cuts_tower
from vlbias.causal.unit_batch import UnitBatch
from vlbias.causal.unit_jobs import run_unit_batches

__all__ = ["Sweep", "SweepPlan", "unpatched"]

Pair = tuple[int, int]


@dataclass(frozen=True)
class Sweep:
    """What a tower gives for N rows and P ordered pairs of them.

    Args:
        encoded: The tower's output for the rows, [N, …].
        patched: Mediator name to the output for the pairs, [P, …]; NaN where not aligned.
        aligned: Whether values can be exchanged between the two rows of a pair, [P].
    """

    encoded: Encoded
    patched: Mapping[str, Encoded]
    aligned: Tensor


@dataclass
class SweepPlan:
    """The mediators of one tower, sorted by where their first replacement enters.

    Args:
        model: The model.
        tower: One of its towers.
        mediators: Those whose sites lie in it.
        mediator_batch: At most so many jobs are rows of one batch: what a sweep holds in memory.
        shortcut: Take the output of the other row where a mediator cuts the tower, instead of
            computing it; equal bit by bit, off only to test that.
        lazy: Keep the recorded output of jobs whose replacement changes nothing, and ask for no
            answer twice; off only to test that running all jobs gives the same.
        narrow: Run the tail of a stage on the token that is read, and a causal tower on the tokens
            from the first in which rows differ to the last that is read, jobs that enter at several
            blocks in one pass where that is less work; equal up to rounding.
    """

    model: StagedModel
    tower: Tower
    mediators: Sequence[Mediator]
    mediator_batch: int = 64
    shortcut: bool = True
    lazy: bool = True
    narrow: bool = True
    _trace: Trace | None = field(default=None, init=False)

    def run(self, batch: Batch, pairs: Sequence[Pair]) -> Sweep:
        """The sweep of a batch of rows over ordered pairs (own row, row that gives the mediator)."""
        self._ensure_trace(batch)
        groups, tape = self._groups, self._recorded(batch)
        own = torch.tensor([i for i, _ in pairs], dtype=torch.long, device=_device(batch))
        donor = torch.tensor([j for _, j in pairs], dtype=torch.long, device=_device(batch))
        aligned = aligned_pairs(self.tower, batch, own, donor)
        # a stage that ran once per distinct input asks which jobs are twins, one by one
        asking = {s.name for s in self.tower.stages if not s.parents and s.module in tape.alike}
        together = [
            some
            for group in groups
            for some in group.unit_batches
            if some.targets[0].site.stage not in asking
        ]
        blocks = {some.names: _block(tape.encoded, own, aligned, some) for some in together}
        patched = self._unchanged(tape, own, donor, aligned, blocks)
        jobs = Jobs(
            *(self.model, self.tower, self._targets, own, donor),
            mediator_batch=self.mediator_batch,
            lazy=self.lazy,
            narrow=self.narrow,
        )
        for view, served in self._views(tape, own, donor) if pairs else ():
            wanted, cuts = aligned & served, [narrowed(group.plan, view) for group in groups]
            for group, cut in zip(groups, cuts, strict=True):
                alone = (some.names for some in group.unit_batches if some not in together)
                names = [*group.others, *(name for some in alone for name in some)]
                run_mediators(jobs, view, cut, names, wanted, patched)
            if together:
                batches = [
                    (cut, some)
                    for group, cut in zip(groups, cuts, strict=True)
                    for some in group.unit_batches
                    if some in together
                ]
                run_unit_batches(jobs, view, batches, wanted, blocks)
        return Sweep(tape.encoded, {m.name: patched[m.name] for m in self.mediators}, aligned)

    def _recorded(self, batch: Batch) -> Tape:
        """The recording of a batch; without mediators only what comes out."""
        groups = self._groups
        if self.narrow and not groups and self.tower.begins is not None:
            return Tape(batch, encode_beginnings(self.model, self.tower, batch), {}, {})
        return record(
            self.model,
            self.tower,
            batch,
            outputs={name for group in groups for name in group.plan.outputs} | self._points("out"),
            inputs=self._points("in"),
            traced=self.trace,
        )

    def _unchanged(
        self,
        tape: Tape,
        own: Tensor,
        donor: Tensor,
        aligned: Tensor,
        blocks: Mapping[tuple[str, ...], Encoded],
    ) -> dict[str, Encoded]:
        """What every mediator gives where nothing changes; those of unit batches are rows of a block."""
        patched = {
            name: tree_map(lambda leaf, row=row: leaf[row], block)
            for names, block in blocks.items()
            for row, name in enumerate(names)
        }
        for mediator in self.mediators:
            if mediator.name not in patched:
                patched[mediator.name] = unpatched(
                    self, mediator, tape.encoded, own, donor, aligned
                )
        return patched

    def _views(self, tape: Tape, own: Tensor, donor: Tensor) -> Iterable[tuple[Tape, Tensor]]:
        if self.tower.causal is None or not self.narrow or not self._groups:
            return [(tape, torch.ones_like(own, dtype=torch.bool))]
        replaced = first_replaced(self.tower, tape, self._targets)
        return views(self.model, self.tower, tape, own, donor, replaced)

    def is_cut(self, mediator: Mediator) -> bool:
        """Whether replacing the mediator replaces all that the tower passes on."""
        return cuts_tower(self.model, self.tower, mediator)

    def _ensure_trace(self, batch: Batch) -> None:
        if self._trace is None:

            def run(rows: int) -> Any:
                few = {key: tensor[:1].repeat_interleave(rows, 0) for key, tensor in batch.items()}
                return self.model.encode(self.tower.name, few)

            self._trace = trace(self.model.net, self.tower, run, self.model.name)

    @property
    def trace(self) -> Trace:
        """The tower's calls; known after the first run."""
        assert self._trace is not None
        return self._trace

    def target(self, site: Site) -> PatchTarget:
        """Where a site lies in the trace."""
        return patch_target(self.model, self.tower, self.trace, site)

    @cached_property
    def _targets(self) -> dict[str, list[PatchTarget]]:
        return {
            mediator.name: sorted(
                (self.target(site) for site in mediator.sites), key=lambda target: target.moment
            )
            for mediator in self.mediators
            if not (self.shortcut and self.is_cut(mediator))
        }

    @cached_property
    def _groups(self) -> list[EntryGroup]:
        return entry_groups(self.model, self.tower, self.trace, self._targets)

    def _points(self, slot: str) -> set[str]:
        return {
            target.point[0]
            for targets in self._targets.values()
            for target in targets
            if target.point[1] == slot
        }


def unpatched(
    plan: SweepPlan,
    mediator: Mediator,
    encoded: Encoded,
    own: Tensor,
    donor: Tensor,
    aligned: Tensor,
) -> Encoded:
    """What a mediator gives where nothing changes, [P, …]; NaN where not aligned, unless it cuts the tower."""
    whole = plan.shortcut and plan.is_cut(mediator)
    values = tree_index_select(encoded, donor if whole else own)
    if not whole and not bool(aligned.all()):
        tree_fill_nan_(values, ~aligned)
    return values


def _block(encoded: Encoded, own: Tensor, aligned: Tensor, batch: UnitBatch) -> Encoded:
    """What a unit batch gives where nothing changes, [mediators, pairs, …]; NaN where not aligned."""
    values = tree_index_select(encoded, own)
    if not bool(aligned.all()):
        tree_fill_nan_(values, ~aligned)
    return tree_map(lambda leaf: leaf.expand(len(batch.names), *leaf.shape).clone(), values)


def _device(batch: Batch) -> torch.device:
    return next(iter(batch.values())).device
