"""Jobs of a sweep: recorded rows resumed with values of other rows, as many as fit in one batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vlbias.causal.hooks import tree_copy_rows_, tree_index_put_, tree_index_select
from vlbias.causal.joint_pass import (
    EntryJobs,
    can_join,
    even_parts,
    is_joint_cheaper,
    run_joint_pass,
)
from vlbias.causal.patching import PatchTarget, Tokens, combined_write, write_rows
from vlbias.causal.resumption import Resumption
from vlbias.causal.reuse import DistinctJobs, distinct_jobs
from vlbias.causal.staged import Encoded, StagedModel, Tower
from vlbias.causal.tape import PointPatch, Tape, resume
from vlbias.causal.trace import Point
from vlbias.causal.unit_batch import UnitBatch

__all__ = ["Jobs", "any_of_row"]


@dataclass(frozen=True, eq=False)
class _Rank:
    """The jobs of a panel: which of its mediators, for which pair.

    Args:
        plan: Where the panel enters.
        panel: The mediators.
        units: Which units each mediator replaces, [mediators, units].
        member: The mediator of each job.
        pair: The pair of each job.
    """

    plan: Resumption
    panel: UnitBatch
    units: Tensor
    member: Tensor
    pair: Tensor


@dataclass(frozen=True)
class Jobs:
    """What is run for P ordered pairs of recorded rows; options as those of a `SweepPlan`.

    Args:
        model: The model.
        tower: The tower that was recorded.
        targets: Mediator name to its targets, the first that is reached first.
        own: Row that each pair continues, [P].
        donor: Row that gives it the mediator, [P].
        mediator_batch: At most so many jobs run as rows of one batch.
        lazy: Leave out jobs whose answer is known.
        narrow: Run the tail of a stage on the token that is read.
    """

    model: StagedModel
    tower: Tower
    targets: Mapping[str, Sequence[PatchTarget]]
    own: Tensor
    donor: Tensor
    mediator_batch: int
    lazy: bool
    narrow: bool

    def run_panels(
        self,
        tape: Tape,
        panels: Sequence[tuple[Resumption, UnitBatch]],
        wanted: Tensor,
        blocks: Mapping[tuple[str, ...], Encoded],
    ) -> None:
        """Run the jobs of panels and put what they give into their blocks, in place.

        In a causal tower, jobs of several panels share a pass where that reads weights less often.

        Args:
            tape: The recording, or a part of it.
            panels: The mediators, and where they enter; the first that is reached first.
            wanted: For which pairs, [P].
            blocks: Names of a panel to what it gives, [mediators, P, …].
        """
        ranks = [self._ranks(tape, plan, panel, wanted) for plan, panel in panels]
        ranks = [rank for rank in ranks if len(rank.pair)]
        joining = [rank for rank in ranks if self.narrow and can_join(self.tower, tape, rank.plan)]
        counts = [(rank.plan, len(rank.pair)) for rank in joining]
        if self.tower.causal is None or not is_joint_cheaper(
            self.tower, tape, counts, self.mediator_batch
        ):
            joining = []
        for rank in ranks:
            if rank not in joining:
                self._run_rank(tape, rank, blocks[rank.panel.names])
        if joining:
            self._run_joined(tape, joining, blocks)

    def _ranks(self, tape: Tape, plan: Resumption, panel: UnitBatch, wanted: Tensor) -> _Rank:
        if self.lazy:
            among = (wanted & (self.own != self.donor)).nonzero().flatten()
            tokens = self._tokens(tape, self.own[among])
            active = panel.active(tape, self.own, self.donor, among, tokens)
        else:
            active = wanted.expand(len(panel.names), -1)
        count = panel.targets[0].units_of(tape.at(plan.entry))
        return _Rank(plan, panel, panel.units(count, self.own.device), *active.nonzero().T)

    def _run_rank(self, tape: Tape, rank: _Rank, block: Encoded) -> None:
        for part in even_parts(len(rank.pair), self.mediator_batch):
            own, value = self._value(tape, rank, part)
            encoded = resume(
                *(self.model, self.tower, tape, own, rank.plan, value, own), narrow=self.narrow
            )
            tree_index_put_(block, (rank.member[part], rank.pair[part]), encoded)

    def _run_joined(
        self, tape: Tape, ranks: Sequence[_Rank], blocks: Mapping[tuple[str, ...], Encoded]
    ) -> None:
        """Jobs of all ranks in every batch: what a pair needs runs together as far as it fits."""
        sizes = torch.tensor([len(rank.pair) for rank in ranks])
        number = torch.arange(len(ranks)).repeat_interleave(sizes)
        place = torch.cat([torch.arange(int(size)) for size in sizes])
        order = torch.cat([rank.pair for rank in ranks]).cpu().argsort(stable=True)
        for part in even_parts(len(order), self.mediator_batch):
            some = order[part]
            present = [i for i in range(len(ranks)) if bool((number[some] == i).any())]
            which = [place[some[number[some] == i]].to(self.own.device) for i in present]
            entrances = [
                EntryJobs(ranks[i].plan, *self._value(tape, ranks[i], rows))
                for i, rows in zip(present, which, strict=True)
            ]
            encoded = run_joint_pass(self.model, self.tower, tape, entrances, narrow=self.narrow)
            first = 0
            for i, rows in zip(present, which, strict=True):
                span = torch.arange(first, first + len(rows), device=self.own.device)
                first += len(rows)
                index = (ranks[i].member[rows], ranks[i].pair[rows])
                tree_index_put_(blocks[ranks[i].panel.names], index, tree_index_select(encoded, span))

    def _value(self, tape: Tape, rank: _Rank, part: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The recorded rows that some jobs continue, and the tensor at their entry."""
        pair = rank.pair[part]
        own, donor = self.own[pair], self.donor[pair]
        tokens = self._tokens(tape, own)
        return own, rank.panel.value(tape, own, donor, rank.units[rank.member[part]], tokens)

    def run_singly(
        self,
        tape: Tape,
        plan: Resumption,
        names: Sequence[str],
        wanted: Tensor,
        patched: Mapping[str, Encoded],
    ) -> None:
        """Run the jobs of mediators one by one and put what they give into `patched`, in place.

        Args:
            tape: The recording, or a part of it.
            plan: Where the mediators enter.
            names: The mediators.
            wanted: For which pairs, [P].
            patched: What each mediator gives, [P, …].
        """
        work = {name: self._work(tape, name, wanted) for name in names}
        for run, jobs, values in self._resumed(tape, plan, work):
            for name, job, value in zip(run, jobs, values, strict=True):
                tree_index_put_(patched[name], job, value)
        for name, one in work.items():
            tree_copy_rows_(patched[name], one.known, tape.encoded)
            tree_copy_rows_(patched[name], one.twins, patched[name])

    def _resumed(
        self, tape: Tape, plan: Resumption, work: Mapping[str, DistinctJobs]
    ) -> Iterator[tuple[list[str], list[Tensor], list[Encoded]]]:
        flat = [(name, pair) for name, one in work.items() for pair in one.jobs]
        for part in even_parts(len(flat), self.mediator_batch):
            chunk = flat[part]
            spans: dict[str, list[int]] = {}
            for row, (name, _) in enumerate(chunk):
                spans.setdefault(name, []).append(row)
            pair = torch.tensor([pair for _, pair in chunk], device=self.own.device)
            encoded = self._chunk(tape, plan, spans, self.own[pair], self.donor[pair])
            rows = [torch.tensor(span, device=self.own.device) for span in spans.values()]
            yield list(spans), [pair[row] for row in rows], [tree_index_select(encoded, row) for row in rows]

    def _work(self, tape: Tape, name: str, wanted: Tensor) -> DistinctJobs:
        """The jobs of a mediator, without those whose answer is known or asked for twice."""
        active = self._active(tape, name, wanted).tolist()
        if not self.lazy:
            return DistinctJobs(active, {}, {})
        pairs = {pair: (int(self.own[pair]), int(self.donor[pair])) for pair in active}
        return distinct_jobs(self.tower, tape, [target.site for target in self.targets[name]], pairs)

    def _active(self, tape: Tape, name: str, wanted: Tensor) -> Tensor:
        """The pairs whose replacement changes anything: the others keep their recorded output."""
        if not self.lazy:
            return wanted.nonzero().flatten()
        candidates = (wanted & (self.own != self.donor)).nonzero().flatten()
        if not len(candidates):
            return candidates
        changed = torch.zeros(len(candidates), dtype=torch.bool, device=self.own.device)
        for target in self.targets[name]:
            mine = tape.rows_at(target.point, self.own[candidates])
            other = tape.rows_at(target.point, self.donor[candidates])
            new = target.write(mine, other, self._tokens(tape, self.own[candidates]))
            changed |= any_of_row(new != mine, len(candidates))
        return candidates[changed]

    def _tokens(self, tape: Tape, rows: Tensor) -> Tokens:
        return Tokens.of(self.tower, tape.batch, self._lengths, tape.start).rows(rows)

    @cached_property
    def _lengths(self) -> list[str]:
        keys = {target.length for targets in self.targets.values() for target in targets}
        return [key for key in keys if key is not None]

    def _chunk(
        self, tape: Tape, plan: Resumption, spans: dict[str, list[int]], own: Tensor, donor: Tensor
    ) -> Encoded:
        value, rest = tape.rows_at(plan.entry, own), own.clone()
        tokens = self._tokens(tape, own)
        later: dict[Point, list[tuple[PatchTarget, list[int]]]] = {}
        for name, span in spans.items():
            for target in self.targets[name]:
                if target.point != plan.entry:
                    later.setdefault(target.point, []).append((target, span))
                    continue
                given = tape.rows_at(plan.entry, donor[span])
                write_rows(value, target, span, given, len(own), tokens)
                if target.port is None:
                    rest[span] = donor[span]
        edits = []
        for point, writes in later.items():
            jobs = [job for target, span in writes if target.port is None for job in span]
            where = torch.tensor(jobs, device=own.device)
            whole = (where, donor[where]) if jobs else None
            write = combined_write(writes, tape.rows_at(point, donor), len(own), tokens)
            edits.append(PointPatch(point, write, whole))
        return resume(
            self.model, self.tower, tape, own, plan, value, rest, edits, narrow=self.narrow
        )


def any_of_row(claim: Tensor, rows: int | None = None) -> Tensor:
    """Whether anything of a row is true; windows of a row stay together."""
    folded = claim if rows is None else claim.unflatten(0, (rows, -1))
    return folded.reshape(len(folded), math.prod(folded.shape[1:])).any(1)
