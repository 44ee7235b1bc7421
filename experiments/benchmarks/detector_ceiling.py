"""The time of a detector's jobs that cannot be saved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from detector_inputs import WORLDS, Held

from vlbias.causal.sweep import SweepPlan


@torch.inference_mode()
def stage_times(model: Held, plan: SweepPlan) -> tuple[float, dict[str, float], dict[str, float]]:
    """Seconds of one pass, of each stage, and from each mediator's entry to the end."""
    batch = model.collate("model", [WORLDS["null"]])
    stages: dict[str, float] = {}
    marks: dict[str, float] = {}
    with ExitStack() as stack:
        for stage in plan.tower.stages:
            module = model.net.get_submodule(stage.module)
            begin = partial(_mark, stages, stage.name, -1.0)
            stack.callback(module.register_forward_pre_hook(begin).remove)
            end = partial(_mark, stages, stage.name, 1.0)
            stack.callback(module.register_forward_hook(end).remove)
        for mediator in plan.mediators:
            path, slot = plan.target(mediator.sites[0]).point
            note = partial(_mark, marks, mediator.name, 1.0)
            module = model.net.get_submodule(path)
            register = (
                module.register_forward_pre_hook if slot == "in" else module.register_forward_hook
            )
            stack.callback(register(note).remove)
        began = time.perf_counter()
        model.encode("model", batch)
        ended = time.perf_counter()
    return ended - began, stages, {name: ended - at for name, at in marks.items()}


def _mark(book: dict[str, float], name: str, sign: float, *_: Any) -> None:
    book[name] = book.get(name, 0.0) + sign * time.perf_counter()


def least(model: Held, plan: SweepPlan, work: Sequence[str]) -> tuple[float, dict[str, float]]:
    """The time that cannot be saved, and the share of each stage in a pass.

    Args:
        model: The detector.
        plan: Of its tower.
        work: The mediator of every job that has to be run.
    """
    whole, stages, behind = stage_times(model, plan)
    rest = whole - stages["image_encoder"] - stages["text_encoder"]
    shared = 2 * (stages["image_encoder"] + stages["text_encoder"]) + len(WORLDS) * rest
    idle = {  # behind an entry in the text encoder the forward still calls the image encoder
        name: stages["image_encoder"] if name.startswith("text_encoder") else 0.0 for name in behind
    }
    total = shared + sum(behind[name] - idle[name] for name in work)
    return total, {name: seconds / whole for name, seconds in stages.items()}
