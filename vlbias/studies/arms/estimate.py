"""What a run would take, from one timed cell."""

from __future__ import annotations

import time
from collections.abc import Iterator

from vlbias.runs.runner import QUIET, Events, model_of
from vlbias.studies.arms.plan import Plan, engine_of
from vlbias.studies.language.screening import thinned

__all__ = ["estimate"]


def estimate(plan: Plan, events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line: cells, rows, and time from one timed cell."""
    kind = "texts" if plan.study.is_of_texts else "photos"
    plan = thinned(plan)
    about = "" if plan.study.screen is None else " (screened: about so many)"
    yield f"{kind} {len(plan.examples)}, cells {len(plan.shards)}, mediators {len(plan.mediators)}{about}"
    yield f"rows {plan.rows:,} (about {plan.rows * 5 / 1e6:.0f} MB)"
    events.note("timing two of them")
    model = model_of(plan)
    engine = engine_of(plan, model)
    began = time.monotonic()
    engine.share(plan.examples)
    shared = time.monotonic() - began
    few = plan.shards[0][:2]
    list(engine.run(few[:1]))
    began = time.monotonic()
    list(engine.run(few))
    seconds = (time.monotonic() - began) / len(few) * len(plan.examples) + shared
    yield (
        f"estimated time {seconds / 60:.1f} min on {plan.study.device} "
        f"(from two {kind}; shared rows {shared:.0f} s)"
    )
