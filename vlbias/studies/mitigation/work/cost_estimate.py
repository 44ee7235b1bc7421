"""What a study of mitigations would take, from small fits and a few timed rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import VlbiasError
from vlbias.mitigations.base import Mitigation
from vlbias.runs.events import QUIET, Events
from vlbias.studies.mitigation.conditions import Fit, fits_of, mitigation_of
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.retrieval_texts import is_dual
from vlbias.studies.mitigation.settings import Setting
from vlbias.studies.mitigation.study import SiteSelection
from vlbias.studies.mitigation.work.affected_stages import (
    acts_on_outputs,
    changed_stages,
    unchanged_towers,
)
from vlbias.studies.mitigation.work.cached_towers import CachedTowers
from vlbias.studies.mitigation.work.cells import parts_of
from vlbias.studies.mitigation.work.passes import encoded, nulls, rows_of
from vlbias.studies.mitigation.work.site_selection import candidates_of, with_sites
from vlbias.studies.mitigation.work.stage_cache import StageCache
from vlbias.studies.photos.asked_model import load_asked

__all__ = ["estimate"]

_ROWS = 16
_PHOTOS = 64


def estimate(plan: MitigationPlan, events: Events = QUIET) -> Iterator[str]:
    """Lines on settings, cells and time; every method is fitted on 64 photos and timed on 16 rows.

    The time is that of one process; the fit is taken to grow with the number of photos, which a method
    that searches sites need not do.
    """
    study, protocol = plan.study, plan.study.mitigation
    events.note("timing every method on a few photos")
    model = load_asked(study, plan.examples)
    parts, fits = parts_of(plan, model), fits_of(plan.settings)
    counts = ", ".join(f"{split} {len(photos)}" for split, photos in plan.split.items())
    sizes = f"settings {len(plan.settings)}, fits {len(fits)}, conditions {len(plan.conditions)}"
    yield f"photos: {counts}; {sizes}"
    yield f"cells {len(parts)}: a condition on one split each, and maps of what changed"
    stages = StageCache(model)
    with stages.used(()):
        _pass(plan, model, model)  # warms up, and fills what later conditions find
    plain = _pass(plan, model, model)
    timer = _Timer(plan, model, plain, stages)
    for setting, fit in fits:
        events.note(f"timing {fit.name}")
        timer.add(setting, fit)
    maps = sum(part.kind == "map" for part in parts) * 2 * plain
    maps *= len(plan.split[protocol.report]) / max(
        sum(len(plan.split[name]) for name in plan.asked), 1
    )
    yield from timer.notes
    total = plain + timer.fitting + timer.scoring + maps
    yield (
        f"estimated time {total / 60:.1f} min on {study.device} in one process: fits "
        f"{timer.fitting / 60:.1f} min, conditions {(plain + timer.scoring) / 60:.1f} min, maps "
        f"{maps / 60:.1f} min (the model as it is: {plain:.1f} s)"
    )


class _Timer:
    """Adds up what fits and conditions take."""

    def __init__(
        self, plan: MitigationPlan, model: StagedModel, plain: float, stages: StageCache
    ) -> None:
        self.plan, self.model, self.plain, self.stages = plan, model, plain, stages
        self.cached = CachedTowers(model, _ROWS) if is_dual(model) else None
        self.fitting, self.scoring, self.notes = 0.0, 0.0, list[str]()

    def add(self, setting: Setting, fit: Fit) -> None:
        """Fit on a few photos, and time one pass."""
        mitigation = mitigation_of(setting, fit)
        photos = self.plan.split[self.plan.study.mitigation.fit]
        if setting.selection:
            mitigation = self._with_some_sites(setting.selection, mitigation, fit)
        outputs = self.cached is not None and acts_on_outputs(mitigation, self.model)
        few = _some_of_each_group(photos)
        unusable = mitigation.unusable(few)
        few = [photo for photo in few if photo.id not in unusable]
        began = time.monotonic()
        try:
            fitted = mitigation.fit(
                self.cached if outputs and self.cached else self.model,
                few,
                rng=np.random.default_rng(self.plan.study.seed),
            )
        except VlbiasError as error:
            self.notes.append(f"{fit.name} could not be timed on {len(few)} photos: {error}")
            self.scoring += self.plain * len(setting.strengths)
            return
        self.fitting += (time.monotonic() - began) / max(len(few), 1) * len(photos)
        if not outputs:
            same = self.stages.used(changed_stages(mitigation, self.model))
            with fitted.applied(self.model, 1.0) as changed, same:
                once = _pass(self.plan, changed, self.model, mitigation)
            self.scoring += once * len(setting.strengths)

    def _with_some_sites(self, spec: SiteSelection, mitigation: Mitigation, fit: Fit) -> Mitigation:
        """The mitigation at the first candidates; adds the time of the choice."""
        candidates = candidates_of(self.model, spec)
        photos = sum(len(self.plan.split[name]) for name in self.plan.asked)
        tries = len(candidates) + spec.most * spec.width
        self.fitting += tries * self.plain * spec.photos / photos * (fit.role == "mitigated")
        return with_sites(mitigation, tuple(candidates[: spec.most]))


def _some_of_each_group(photos: Sequence[Example]) -> list[Example]:
    """The first photos of every group."""
    groups: dict[str, list[Example]] = {}
    for photo in photos:
        groups.setdefault(photo.attributes["group"], []).append(photo)
    most = _PHOTOS // len(groups)
    return [photo for members in groups.values() for photo in members[:most]]


def _pass(
    plan: MitigationPlan,
    model: StagedModel,
    plain: StagedModel,
    mitigation: Mitigation | None = None,
) -> float:
    """Seconds of one condition on both splits, from a few rows of every tower that need encoding."""
    total = 0.0
    reuses = frozenset() if mitigation is None else unchanged_towers(mitigation, plain)
    for split, asked in plan.asked.items():
        photos = plan.split[split]
        unusable = {} if mitigation is None else mitigation.unusable(photos)
        inputs = nulls([photo for photo in photos if photo.id not in unusable])
        for tower in model.towers:
            values = rows_of(model, tower, inputs)
            count = len(values) + (len(asked.texts) if tower.channels == ("text",) else 0)
            few = values[:_ROWS]
            if few and (tower.name not in reuses or few != rows_of(plain, tower, inputs)[:_ROWS]):
                began = time.monotonic()
                encoded(model, tower.name, few, _ROWS)
                total += (time.monotonic() - began) / len(few) * count
    return total
