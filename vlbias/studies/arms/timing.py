"""What a run of potential outcomes would take, before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from vlbias.runs.events import Events, Note
from vlbias.studies.arms.plan import ArmsPlan, S
from vlbias.studies.arms.screening import thinned
from vlbias.studies.arms.work import ArmsWork

__all__ = ["timed"]


def timed(
    make_work: Callable[[ArmsPlan[S], Path, Note], ArmsWork[S]], plan: ArmsPlan[S], events: Events
) -> Iterator[str]:
    """What a run would take, line by line: cells, rows, and time from two timed samples.

    Screened units are taken to be about as many as asked.
    """
    if plan.study.racing is not None:
        yield f"raced in {plan.study.racing.rounds} rounds: it takes at most what follows"
        plan = plan.unraced()
    if plan.study.screen is not None:
        yield f"screened: about {plan.study.screen:.0%} of the units"
        plan = replace(thinned(plan), study=plan.study.model_copy(update={"screen": None}))
    plan = replace(plan, files={})  # keys are for nothing, and need no photo opened
    # an empty folder: in another one, a manifest that is none of ours would be read
    with TemporaryDirectory() as folder:
        work = make_work(plan, Path(folder), events.note)
    plan = work.plan
    yield f"{plan.unit} {len(plan.examples)}, cells {len(plan.cells)}, mediators {len(plan.mediators)}"
    yield f"rows {plan.rows:,} (about {plan.rows * 5 / 1e6:.0f} MB)"
    events.note("timing two of them")
    began = time.monotonic()
    work.engine.share(plan.examples, cell=plan.study.shard_size)
    shared = time.monotonic() - began
    seconds = shared
    for mediated in (True, False):
        alike = [one for one in plan.examples if plan.is_mediated(one) is mediated]
        if few := alike[:2]:
            list(work.engine.run(few[:1], mediated=mediated))
            began = time.monotonic()
            list(work.engine.run(few, mediated=mediated))
            seconds += (time.monotonic() - began) / len(few) * len(alike)
    yield (
        f"estimated time {seconds / 60:.1f} min on {plan.study.device} "
        f"(from two {plan.unit}; shared rows {shared:.0f} s)"
    )
