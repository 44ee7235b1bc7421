"""Many mediators of one tower at once: recorded rows, ordered pairs of them, one replacement each.

For rows i and j, the job (i, j) of a mediator runs the tower on row i with the mediator's value taken
from row j. All potential outcomes of a tower are such jobs: Y(0, M(1)) is the job (base, cf),
Y(1, M(0)) the job (cf, base). Jobs of one entry point are rows of one batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.lending import copy_rows, fill, pick, put
from vlbias.causal.resumption import Resumption, plan_resumption
from vlbias.causal.reuse import Work, reduced
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged import Batch, Encoded, StagedModel, Tower, find_port
from vlbias.causal.suffix import narrowed, views
from vlbias.causal.tape import Edit, Tape, record, resume
from vlbias.causal.target import Target, Tokens, live, write_rows
from vlbias.causal.trace import Point, Trace, trace

__all__ = ["Sweep", "SweepPlan"]

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
        mediator_batch: At most so many jobs run as rows of one batch; activations of that many rows
            and the recorded rows are what a sweep holds in memory.
        shortcut: Take the output of the other row where a mediator cuts the tower, instead of
            computing it; equal bit by bit, off only to test that.
        lazy: Keep the recorded output of jobs whose replacement changes nothing, and ask for no
            answer twice; off only to test that running all jobs gives the same.
        narrow: Run the tail of a stage on the token that is read, and a causal tower from the first
            token in which rows differ; equal up to rounding.
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
        groups = self._groups
        tape = record(
            self.model,
            self.tower,
            batch,
            outputs={name for plan, _ in groups for name in plan.outputs} | self._points("out"),
            inputs=self._points("in"),
            traced=self.trace,
        )
        own = torch.tensor([i for i, _ in pairs], dtype=torch.long, device=_device(batch))
        donor = torch.tensor([j for _, j in pairs], dtype=torch.long, device=_device(batch))
        aligned = self._aligned(batch, own, donor)
        patched: dict[str, Encoded] = {}
        for mediator in self.mediators:
            whole = self.shortcut and self.is_cut(mediator)
            patched[mediator.name] = pick(tape.encoded, donor if whole else own)
            if not whole and not bool(aligned.all()):
                fill(patched[mediator.name], ~aligned)
        for view, served in self._views(tape, own, donor) if pairs else ():
            for plan, members in groups:
                cut, wanted = narrowed(plan, view), aligned & served
                work = {name: self._work(view, name, own, donor, wanted) for name in members}
                for names, jobs, values in self._resumed(view, cut, work, own, donor):
                    for name, job, value in zip(names, jobs, values, strict=True):
                        put(patched[name], job, value)
                for name, one in work.items():
                    copy_rows(patched[name], one.known, tape.encoded)
                    copy_rows(patched[name], one.twins, patched[name])
        return Sweep(tape.encoded, patched, aligned)

    def _views(self, tape: Tape, own: Tensor, donor: Tensor) -> Iterable[tuple[Tape, Tensor]]:
        if self.tower.causal is None or not self.narrow or not self._groups:
            return [(tape, torch.ones_like(own, dtype=torch.bool))]
        return views(self.model, self.tower, tape, own, donor)

    def is_cut(self, mediator: Mediator) -> bool:
        """Whether replacing the mediator replaces all that the tower passes on.

        True if every path from an input to the end of the tower leads through a stage that is
        replaced whole, or through its replaced residual stream. Then NIE = TE by construction, and
        no share is worth printing.
        """
        closed = set()
        for site in mediator.sites:
            port = find_port(self.model, site)
            if (port is None or port.cut) and (site.units, site.positions) == (None, None):
                closed.add(site.stage)
        reached: set[str] = set()
        for stage in self.tower.stages:
            if stage.name not in closed and (not stage.parents or reached & set(stage.parents)):
                reached.add(stage.name)
        passed_on = {parent for stage in self.tower.stages for parent in stage.parents}
        return not reached - passed_on

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

    def target(self, site: Site) -> Target:
        """Where a site lies in the trace."""
        port = find_port(self.model, site)
        if port is None:
            stage = next(stage for stage in self.tower.stages if stage.name == site.stage)
            point: Point = (stage.module, "out")
        else:
            point = (port.path(site.layer), port.slot)
        length = (port.length if port is not None else None) or self.tower.length
        return Target(site, port, point, self.trace.moment(point, self.model.name), length)

    @cached_property
    def _targets(self) -> dict[str, list[Target]]:
        return {
            mediator.name: sorted(
                (self.target(site) for site in mediator.sites), key=lambda target: target.moment
            )
            for mediator in self.mediators
            if not (self.shortcut and self.is_cut(mediator))
        }

    @cached_property
    def _groups(self) -> list[tuple[Resumption, list[str]]]:
        members: dict[Point, list[str]] = {}
        for name, targets in self._targets.items():
            members.setdefault(targets[0].point, []).append(name)
        return [
            (
                plan_resumption(
                    self.trace,
                    self.tower,
                    point,
                    self._targets[names[0]][0].site.stage,
                    self.model.name,
                ),
                names,
            )
            for point, names in members.items()
        ]

    def _points(self, slot: str) -> set[str]:
        return {
            target.point[0]
            for targets in self._targets.values()
            for target in targets
            if target.point[1] == slot
        }

    def _aligned(self, batch: Batch, own: Tensor, donor: Tensor) -> Tensor:
        aligned = torch.ones(len(own), dtype=torch.bool, device=own.device)
        for key in self.tower.aligned:
            if key in batch:
                aligned &= ~_any_of_row(batch[key][own] != batch[key][donor])
        return aligned

    def _resumed(
        self,
        tape: Tape,
        plan: Resumption,
        work: Mapping[str, Work],
        own: Tensor,
        donor: Tensor,
    ) -> Iterator[tuple[list[str], list[Tensor], list[Encoded]]]:
        flat = [(name, pair) for name, one in work.items() for pair in one.jobs]
        for start in range(0, len(flat), self.mediator_batch):
            chunk = flat[start : start + self.mediator_batch]
            spans: dict[str, list[int]] = {}
            for row, (name, _) in enumerate(chunk):
                spans.setdefault(name, []).append(row)
            pair = torch.tensor([pair for _, pair in chunk], device=own.device)
            encoded = self._chunk(tape, plan, spans, own[pair], donor[pair])
            rows = [torch.tensor(span, device=own.device) for span in spans.values()]
            yield list(spans), [pair[row] for row in rows], [pick(encoded, row) for row in rows]

    def _work(self, tape: Tape, name: str, own: Tensor, donor: Tensor, aligned: Tensor) -> Work:
        """The jobs of a mediator, without those whose answer is known or asked for twice."""
        active = self._active(tape, name, own, donor, aligned).tolist()
        if not self.lazy:
            return Work(active, {}, {})
        pairs = {pair: (int(own[pair]), int(donor[pair])) for pair in active}
        return reduced(self.tower, tape, [target.site for target in self._targets[name]], pairs)

    def _active(self, tape: Tape, name: str, own: Tensor, donor: Tensor, aligned: Tensor) -> Tensor:
        """The pairs whose replacement changes anything: the others keep their recorded output."""
        if not self.lazy:
            return aligned.nonzero().flatten()
        candidates = (aligned & (own != donor)).nonzero().flatten()
        if not len(candidates):
            return candidates
        changed = torch.zeros(len(candidates), dtype=torch.bool, device=own.device)
        for target in self._targets[name]:
            mine = tape.rows_at(target.point, own[candidates])
            other = tape.rows_at(target.point, donor[candidates])
            new = target.write(mine, other, self._tokens(tape, own[candidates]))
            changed |= _any_of_row(new != mine, len(candidates))
        return candidates[changed]

    def _tokens(self, tape: Tape, rows: Tensor) -> Tokens:
        keys = {target.length for targets in self._targets.values() for target in targets}
        wanted = [key for key in keys if key is not None]
        return Tokens.of(self.tower, tape.batch, wanted, tape.start).rows(rows)

    def _chunk(
        self, tape: Tape, plan: Resumption, spans: dict[str, list[int]], own: Tensor, donor: Tensor
    ) -> Encoded:
        value, rest = tape.rows_at(plan.entry, own), own.clone()
        tokens = self._tokens(tape, own)
        later: dict[Point, list[tuple[Target, list[int]]]] = {}
        for name, span in spans.items():
            for target in self._targets[name]:
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
            write = live(writes, tape.rows_at(point, donor), len(own), tokens)
            edits.append(Edit(point, write, whole))
        return resume(
            self.model, self.tower, tape, own, plan, value, rest, edits, narrow=self.narrow
        )


def _any_of_row(claim: Tensor, rows: int | None = None) -> Tensor:
    """Whether anything of a row is true; windows of a row stay together."""
    folded = claim if rows is None else claim.unflatten(0, (rows, -1))
    return folded.reshape(len(folded), math.prod(folded.shape[1:])).any(1)


def _device(batch: Batch) -> torch.device:
    return next(iter(batch.values())).device
