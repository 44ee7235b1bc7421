"""Jobs of mediators that are in no unit batch: whole stages, and sites at several points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from vlbias.causal.call_order import Point
from vlbias.causal.distinct_jobs import DistinctJobs, distinct_jobs
from vlbias.causal.hooks import tree_copy_rows_, tree_index_put_, tree_index_select
from vlbias.causal.jobs import Jobs
from vlbias.causal.joint_pass import even_parts
from vlbias.causal.patching import PatchTarget, combined_write, write_rows
from vlbias.causal.resumption import Resumption
from vlbias.causal.staged_model import Encoded
from vlbias.causal.tape import PointPatch, Tape, resume

__all__ = ["resume_mediators", "run_mediators"]


def run_mediators(
    jobs: Jobs,
    tape: Tape,
    plan: Resumption,
    names: Sequence[str],
    wanted: Tensor,
    patched: Mapping[str, Encoded],
) -> None:
    """Run the jobs of mediators and write what they give into `patched`, in place.

    Args:
        jobs: The pairs.
        tape: The recording, or a part of it.
        plan: Where the mediators enter.
        names: The mediators.
        wanted: For which pairs, [P].
        patched: What each mediator gives, [P, …].
    """
    distinct = {name: _distinct(jobs, tape, name, wanted) for name in names}
    for run, pairs, values in _resumed(jobs, tape, plan, distinct):
        for name, pair, value in zip(run, pairs, values, strict=True):
            tree_index_put_(patched[name], pair, value)
    for name, one in distinct.items():
        tree_copy_rows_(patched[name], one.known, tape.encoded)
        tree_copy_rows_(patched[name], one.twins, patched[name])


def _resumed(
    jobs: Jobs, tape: Tape, plan: Resumption, distinct: Mapping[str, DistinctJobs]
) -> Iterator[tuple[list[str], list[Tensor], list[Encoded]]]:
    """Of each batch: mediators, the pairs of each, and what the tower gives for these."""
    flat = [(name, pair) for name, one in distinct.items() for pair in one.jobs]
    for part in even_parts(len(flat), jobs.mediator_batch):
        chunk = flat[part]
        spans: dict[str, list[int]] = {}
        for row, (name, _) in enumerate(chunk):
            spans.setdefault(name, []).append(row)
        pair = torch.tensor([pair for _, pair in chunk], device=jobs.own.device)
        encoded = resume_mediators(jobs, tape, plan, spans, jobs.own[pair], jobs.donor[pair])
        rows = [torch.tensor(span, device=jobs.own.device) for span in spans.values()]
        outputs = [tree_index_select(encoded, row) for row in rows]
        yield list(spans), [pair[row] for row in rows], outputs


def _distinct(jobs: Jobs, tape: Tape, name: str, wanted: Tensor) -> DistinctJobs:
    """The jobs of a mediator, without those whose answer is known or asked for twice."""
    active = _active(jobs, tape, name, wanted).tolist()
    if not jobs.lazy:
        return DistinctJobs(active, {}, {})
    pairs = {pair: (int(jobs.own[pair]), int(jobs.donor[pair])) for pair in active}
    sites = [target.site for target in jobs.targets[name]]
    return distinct_jobs(jobs.tower, tape, sites, pairs)


def _active(jobs: Jobs, tape: Tape, name: str, wanted: Tensor) -> Tensor:
    """The pairs whose replacement changes anything: the others keep their recorded output."""
    if not jobs.lazy:
        return wanted.nonzero().flatten()
    candidates = jobs.differing(wanted)
    if not len(candidates):
        return candidates
    changed = torch.zeros(len(candidates), dtype=torch.bool, device=jobs.own.device)
    for target in jobs.targets[name]:
        mine = tape.rows_at(target.point, jobs.own[candidates])
        other = tape.rows_at(target.point, jobs.donor[candidates])
        new = target.write(mine, other, jobs.tokens(tape, jobs.own[candidates]))
        changed |= _any_of_row(new != mine, len(candidates))
    return candidates[changed]


def resume_mediators(
    jobs: Jobs,
    tape: Tape,
    plan: Resumption,
    spans: Mapping[str, list[int]],
    own: Tensor,
    donor: Tensor,
) -> Encoded:
    """What the tower gives for one batch of jobs.

    Args:
        jobs: The pairs.
        tape: The recording, or a part of it.
        plan: Where the mediators enter.
        spans: Mediator name to its rows in the batch.
        own: The recorded row that each job continues.
        donor: The recorded row that gives it the mediator.
    """
    value, rest = tape.rows_at(plan.entry, own), own.clone()
    tokens = jobs.tokens(tape, own)
    later: dict[Point, list[tuple[PatchTarget, list[int]]]] = {}
    for name, span in spans.items():
        for target in jobs.targets[name]:
            if target.point != plan.entry:
                later.setdefault(target.point, []).append((target, span))
                continue
            given = tape.rows_at(plan.entry, donor[span])
            write_rows(value, target, span, given, len(own), tokens)
            if target.port is None:
                rest[span] = donor[span]
    patches = []
    for point, writes in later.items():
        stages = [row for target, span in writes if target.port is None for row in span]
        where = torch.tensor(stages, device=own.device)
        whole = (where, donor[where]) if stages else None
        write = combined_write(writes, tape.rows_at(point, donor), len(own), tokens)
        patches.append(PointPatch(point, write, whole))
    return resume(
        *(jobs.model, jobs.tower, tape, own, plan, value, rest, patches), narrow=jobs.narrow
    )


def _any_of_row(claim: Tensor, rows: int) -> Tensor:
    """Whether anything of a row is true; windows of a row stay together."""
    folded: Tensor = claim.unflatten(0, (rows, -1))
    return folded.reshape(len(folded), math.prod(folded.shape[1:])).any(1)
