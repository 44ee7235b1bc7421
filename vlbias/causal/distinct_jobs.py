"""Jobs that need not be run: their answer was recorded, or another job gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from vlbias.causal.site import Site
from vlbias.causal.staged_model import Tower
from vlbias.causal.tape import Tape

__all__ = ["DistinctJobs", "distinct_jobs"]


@dataclass(frozen=True)
class DistinctJobs:
    """The jobs of a mediator, sorted by how their answer is found.

    Args:
        jobs: Pairs to run.
        known: Pair to the recorded row that is its answer.
        twins: Pair to an earlier one of the jobs with the same answer.
    """

    jobs: list[int]
    known: dict[int, int]
    twins: dict[int, int]


def distinct_jobs(
    tower: Tower, tape: Tape, sites: Sequence[Site], pairs: Mapping[int, tuple[int, int]]
) -> DistinctJobs:
    """The jobs of a mediator, each answer asked for once.

    A stage that reads inputs only gives the same for equal inputs. Two donors with equal images are
    therefore one donor for a site in the image encoder. If only whole stages of that kind are replaced,
    the answer may be on the tape: it is the output of a row with the donor's image and the own text.

    Args:
        tower: The tower.
        tape: Its recording.
        sites: Of the mediator.
        pairs: Number to (own row, row that gives the mediator).
    """
    roots = {stage.name: stage.module for stage in tower.stages if not stage.parents}
    stages = [site.stage for site in sites]
    if not all(stage in roots and roots[stage] in tape.alike for stage in stages):
        return DistinctJobs(list(pairs), {}, {})
    whole = all(site.port is None for site in sites)
    jobs, known, twins, first = [], {}, {}, {}  # type: ignore[var-annotated]
    for pair, (own, donor) in pairs.items():
        row = _recorded(tower, tape, set(stages), own, donor) if whole else None
        key = (own, tuple(tape.alike[roots[stage]][donor] for stage in stages))
        if row is not None:
            known[pair] = row
        elif key in first:
            twins[pair] = first[key]
        else:
            first[key] = pair
            jobs.append(pair)
    return DistinctJobs(jobs, known, twins)


def _recorded(tower: Tower, tape: Tape, stages: set[str], own: int, donor: int) -> int | None:
    """The row whose inputs are the donor's at the stages and the own ones elsewhere."""
    wanted = {}
    for stage in tower.stages:
        if not stage.parents:
            if stage.module not in tape.alike:
                return None
            numbers = tape.alike[stage.module]
            wanted[stage.module] = numbers[donor if stage.name in stages else own]
    for row in range(tape.rows):
        if all(tape.alike[module][row] == number for module, number in wanted.items()) and all(
            torch.equal(tape.batch[key][row], tape.batch[key][own])
            for key in tower.aligned
            if key in tape.batch
        ):
            return row
    return None
