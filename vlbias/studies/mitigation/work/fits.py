"""Fitting: every mitigation and placebo once, kept as a folder that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vlbias.causal.staged import StagedModel
from vlbias.files import write_json
from vlbias.mitigations.base import Fitted, Mitigation, refuse_overlap
from vlbias.runs.cells import attempted
from vlbias.runs.runner import Events
from vlbias.store.cells import cell_key
from vlbias.studies.mitigation.conditions import Fit, fits_of
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.study import Setting
from vlbias.studies.mitigation.work.passes import Remembering, is_dual, nulls
from vlbias.studies.mitigation.work.scope import acts_on_outputs
from vlbias.studies.mitigation.work.site_selection import Picking, pick_sites, with_sites

__all__ = ["Fits", "Progress", "common_of", "fit_all", "mitigation_of"]


@dataclass(frozen=True)
class Fits:
    """What was fitted.

    Args:
        fitted: Every fit that did not fail.
        failed: Keys of those that did; each has an error file.
    """

    fitted: Mapping[Fit, Fitted]
    failed: tuple[str, ...]


class Progress:
    """Counts what is done of everything there is to do, for whoever watches."""

    def __init__(self, events: Events, done: int, total: int) -> None:
        self.events, self.done, self.total = events, done, total

    def step(self, examples: int = 0) -> None:
        """One more thing is done."""
        self.done += 1
        self.events.cells(self.done, self.total, examples)


def fit_all(
    plan: MitigationPlan,
    model: StagedModel,
    folder: Path,
    keys: dict[Fit, str],
    wanted: Collection[Fit | None],
    progress: Progress,
) -> Fits:
    """Every fit that is wanted, from the run folder where it is there.

    Raises:
        BadTable: if the disk is full.
    """
    memory = Remembering(model, plan.study.mitigation.batch) if is_dual(model) else None
    fitted: dict[Fit, Fitted] = {}
    failed: list[str] = []
    for setting, fit in fits_of(plan.settings):
        if fit not in wanted:
            continue
        progress.events.note(f"fitting {fit.name}")
        seen: StagedModel = model
        if (
            memory is not None
            and not setting.pick
            and acts_on_outputs(mitigation_of(setting, fit), model)
        ):
            seen = memory
            if not (folder / "fits" / keys[fit]).is_dir():
                # always in the same batches, so that a resumed fit is the same to the last bit
                memory.learn(nulls(plan.split[plan.study.mitigation.fit]))
        found = _fit_one(plan, seen, folder, setting, fit, keys[fit], progress.events.note)
        failed += [] if found else [keys[fit]]
        fitted |= {fit: found} if found else {}
        progress.step()
    return Fits(fitted, tuple(failed))


def mitigation_of(setting: Setting, fit: Fit) -> Mitigation:
    """The method of a setting, or its placebo."""
    made = setting.make()
    placebo = made.placebo() if fit.role == "placebo" else made
    assert placebo is not None
    return placebo


def _fit_one(
    plan: MitigationPlan,
    model: StagedModel,
    folder: Path,
    setting: Setting,
    fit: Fit,
    key: str,
    note: Callable[[str], None],
) -> Fitted | None:
    """The fitted mitigation, from the run folder if it is there; None if fitting failed."""
    place = folder / "fits" / key
    error = folder / "cells" / f"{key}.error.json"
    examples = plan.split[plan.study.mitigation.fit]
    if not (place / "mitigation.json").is_file():

        def do() -> None:
            rng = np.random.default_rng([plan.study.seed, int(key, 16) % 2**32])
            mitigation = mitigation_of(setting, fit)
            began = time.monotonic()
            if setting.pick:
                sites = _picked(plan, model, folder, setting, note)
                mitigation = with_sites(mitigation, sites)
            unusable = mitigation.unusable(examples)
            usable = [example for example in examples if example.id not in unusable]
            fitted = mitigation.fit(model, usable, rng=rng)
            seconds = time.monotonic() - began
            _save(fitted, place, {"seconds": round(seconds, 2), "photos": len(usable)})

        samples = [(example.id, example.cluster) for example in examples]
        if not attempted(folder, error, samples, do):
            return None
    fitted = Fitted.load(place)
    for split in (plan.study.mitigation.choose, plan.study.mitigation.report):
        refuse_overlap(fitted, plan.split[split])
    return fitted


def _picked(
    plan: MitigationPlan,
    model: StagedModel,
    folder: Path,
    setting: Setting,
    note: Callable[[str], None],
) -> tuple[str, ...]:
    """The sites of a setting, picked once for the mitigation and its placebos."""
    assert setting.pick is not None
    key = cell_key(
        {"spec": setting.make().spec, "pick": setting.pick.model_dump(), "common": common_of(plan)}
        | {"revision": model.revision}
    )
    path = folder / "fits" / f"pick-{key}.json"
    if path.is_file():
        return tuple(json.loads(path.read_text())["sites"])
    picking = Picking(
        model,
        plan.split[plan.study.mitigation.fit],
        plan.plan.dataset.classes,
        setting.pick,
        plan.study.mitigation.batch,
    )
    rng = np.random.default_rng([plan.study.seed, int(key, 16) % 2**32])
    return pick_sites(picking, setting.make(), path, rng, note)


def _save(fitted: Fitted, place: Path, about: dict[str, Any]) -> None:
    """A folder that is there whole or not at all."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    fitted.save(temporary)
    write_json(temporary / "fit.json", about)
    os.replace(temporary, place)


def common_of(plan: MitigationPlan) -> dict[str, Any]:
    """What determines the numbers of all cells of a study, beside model and method."""
    exclude = {"name", "model", "device", "operating_point", "min_group", "dataset", "mitigation"}
    study = plan.study.model_dump(mode="json", exclude=exclude | {"random_weights", "shard_size"})
    return {
        "study": study,
        "batch": plan.study.mitigation.batch,
        "splits": [plan.study.mitigation.fit, plan.study.mitigation.choose],
        "data": plan.plan.dataset.content_hash,
        "samples": [example.id for example in plan.plan.examples],
        "version": version("vlbias"),
    }
