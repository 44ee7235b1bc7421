"""Jobs of unit batches: thousands of heads or neurons, of which only those that change anything run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlbias.causal.hooks import tree_index_put_, tree_index_select
from vlbias.causal.jobs import Jobs
from vlbias.causal.joint_pass import (
    EntryJobs,
    can_join,
    even_parts,
    is_joint_cheaper,
    run_joint_pass,
)
from vlbias.causal.resumption import Resumption
from vlbias.causal.staged_model import Encoded
from vlbias.causal.tape import Tape, resume
from vlbias.causal.unit_batch import UnitBatch

__all__ = ["run_unit_batches"]

Blocks = Mapping[tuple[str, ...], Encoded]
"""Names of a unit batch to what its mediators give, [mediators, P, …]."""


@dataclass(frozen=True, eq=False)
class _ActiveJobs:
    """The jobs of a unit batch that change anything.

    Args:
        plan: Where the batch enters.
        batch: The mediators.
        units: Which units each mediator replaces, [mediators, units].
        member: The mediator of each job.
        pair: The pair of each job.
    """

    plan: Resumption
    batch: UnitBatch
    units: Tensor
    member: Tensor
    pair: Tensor


def run_unit_batches(
    jobs: Jobs,
    tape: Tape,
    batches: Sequence[tuple[Resumption, UnitBatch]],
    wanted: Tensor,
    blocks: Blocks,
) -> None:
    """Run the jobs of unit batches and write what they give into their blocks, in place.

    In a causal tower, jobs of several batches share a pass where that reads weights less often.

    Args:
        jobs: The pairs.
        tape: The recording, or a part of it.
        batches: The mediators, and where they enter; the first that is reached first.
        wanted: For which pairs, [P].
        blocks: Where the outputs are written.
    """
    active = [_active_jobs(jobs, tape, plan, batch, wanted) for plan, batch in batches]
    active = [some for some in active if len(some.pair)]
    joining = [some for some in active if jobs.narrow and can_join(jobs.tower, tape, some.plan)]
    counts = [(some.plan, len(some.pair)) for some in joining]
    if jobs.tower.causal is None or not is_joint_cheaper(
        jobs.tower, tape, counts, jobs.mediator_batch
    ):
        joining = []
    for some in active:
        if some not in joining:
            _run_apart(jobs, tape, some, blocks[some.batch.names])
    if joining:
        _run_joined(jobs, tape, joining, blocks)


def _active_jobs(
    jobs: Jobs, tape: Tape, plan: Resumption, batch: UnitBatch, wanted: Tensor
) -> _ActiveJobs:
    if jobs.lazy:
        among = jobs.differing(wanted)
        tokens = jobs.tokens(tape, jobs.own[among])
        active = batch.active(tape, jobs.own, jobs.donor, among, tokens)
    else:
        active = wanted.expand(len(batch.names), -1)
    count = batch.targets[0].units_of(tape.at(plan.entry))
    return _ActiveJobs(plan, batch, batch.units(count, jobs.own.device), *active.nonzero().T)


def _run_apart(jobs: Jobs, tape: Tape, some: _ActiveJobs, block: Encoded) -> None:
    for part in even_parts(len(some.pair), jobs.mediator_batch):
        own, value = _entry_value(jobs, tape, some, part)
        encoded = resume(
            *(jobs.model, jobs.tower, tape, own, some.plan, value, own), narrow=jobs.narrow
        )
        tree_index_put_(block, (some.member[part], some.pair[part]), encoded)


def _run_joined(jobs: Jobs, tape: Tape, active: Sequence[_ActiveJobs], blocks: Blocks) -> None:
    """Jobs of all unit batches in every pass: what a pair needs runs together as far as it fits."""
    sizes = torch.tensor([len(some.pair) for some in active])
    number = torch.arange(len(active)).repeat_interleave(sizes)
    place = torch.cat([torch.arange(int(size)) for size in sizes])
    order = torch.cat([some.pair for some in active]).cpu().argsort(stable=True)
    device = jobs.own.device
    for part in even_parts(len(order), jobs.mediator_batch):
        picked = order[part]
        present = [i for i in range(len(active)) if bool((number[picked] == i).any())]
        which = [place[picked[number[picked] == i]].to(device) for i in present]
        entries = [
            EntryJobs(active[i].plan, *_entry_value(jobs, tape, active[i], rows))
            for i, rows in zip(present, which, strict=True)
        ]
        encoded = run_joint_pass(jobs.model, jobs.tower, tape, entries, narrow=jobs.narrow)
        first = 0
        for i, rows in zip(present, which, strict=True):
            span = torch.arange(first, first + len(rows), device=device)
            first += len(rows)
            index = (active[i].member[rows], active[i].pair[rows])
            tree_index_put_(blocks[active[i].batch.names], index, tree_index_select(encoded, span))


def _entry_value(
    jobs: Jobs, tape: Tape, some: _ActiveJobs, part: Tensor | slice
) -> tuple[Tensor, Tensor]:
    """The recorded rows that some jobs continue, and the tensor at their entry."""
    pair = some.pair[part]
    own, donor = jobs.own[pair], jobs.donor[pair]
    tokens = jobs.tokens(tape, own)
    return own, some.batch.value(tape, own, donor, some.units[some.member[part]], tokens)
