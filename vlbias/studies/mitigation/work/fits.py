"""Fitting: every mitigation and placebo once, kept as a folder that is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadTable
from vlbias.files import read_sealed, to_disk, write_sealed
from vlbias.mitigations.base import Fitted, refuse_overlap
from vlbias.runs.cells import attempted
from vlbias.runs.events import Note, Progress
from vlbias.store.run_folder import Run
from vlbias.store.seals import fit_flaw, sums_of
from vlbias.studies.mitigation.conditions import Fit, fits_of, mitigation_of
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.retrieval_texts import is_dual
from vlbias.studies.mitigation.settings import Setting
from vlbias.studies.mitigation.work.affected_stages import acts_on_outputs
from vlbias.studies.mitigation.work.cached_towers import CachedTowers
from vlbias.studies.mitigation.work.keys import Keys
from vlbias.studies.mitigation.work.passes import nulls
from vlbias.studies.mitigation.work.site_selection import SiteSearch, choose_sites, with_sites

__all__ = ["Fits", "Fitter"]


@dataclass(frozen=True)
class Fits:
    """What was fitted.

    Args:
        fitted: Every fit that did not fail.
        failed: Keys of those that did; each has an error file.
    """

    fitted: Mapping[Fit, Fitted]
    failed: tuple[str, ...]


class Fitter:
    """Fits mitigations and placebos to a model, or loads those that the run folder has.

    Args:
        plan: The study.
        model: Unmitigated.
        folder: The run folder.
        keys: The keys of the fits.
    """

    def __init__(self, plan: MitigationPlan, model: StagedModel, folder: Path, keys: Keys) -> None:
        self.plan, self.model, self.folder, self.keys = plan, model, folder, keys
        self.examples = plan.split[plan.study.mitigation.fit]
        batch = plan.study.mitigation.batch
        self._cached = CachedTowers(model, batch) if is_dual(model) else None
        self._sealed = Run(folder).sealed

    def fit_all(self, wanted: Collection[Fit | None], progress: Progress) -> Fits:
        """Every fit that is wanted.

        Raises:
            BadTable: if the disk is full.
        """
        fitted: dict[Fit, Fitted] = {}
        failed: list[str] = []
        for setting, fit in fits_of(self.plan.settings):
            if fit not in wanted:
                continue
            progress.events.note(f"fitting {fit.name}")
            found = self._fit(setting, fit, progress.events.note)
            failed += [] if found else [self.keys.fits[fit]]
            fitted |= {fit: found} if found else {}
            progress.step()
        return Fits(fitted, tuple(failed))

    def _fit(self, setting: Setting, fit: Fit, note: Note) -> Fitted | None:
        """The fitted mitigation, from the run folder if it is there; None if fitting failed."""
        place = self.folder / "fits" / self.keys.fits[fit]
        if (place / "mitigation.json").is_file() and (flaw := fit_flaw(place, sealed=self._sealed)):
            note(f"{flaw}; {fit.name} is fitted anew")
        else:
            flaw = ""
        if flaw or not (place / "mitigation.json").is_file():
            error = self.folder / "cells" / f"{place.name}.error.json"
            samples = [(example.id, example.cluster) for example in self.examples]
            model = self._model_for(setting, fit)
            if not attempted(
                self.folder,
                error,
                samples,
                lambda: self._fit_into(place, setting, fit, model, note),
            ):
                return None
        fitted = Fitted.load(place)
        for split in (self.plan.study.mitigation.choose, self.plan.study.mitigation.report):
            refuse_overlap(fitted, self.plan.split[split])
        return fitted

    def _model_for(self, setting: Setting, fit: Fit) -> StagedModel:
        """The model that a fit reads: towers run once for all fits that change only their outputs."""
        if (
            self._cached is None
            or setting.selection
            or not acts_on_outputs(mitigation_of(setting, fit), self.model)
        ):
            return self.model
        # always in the same batches, so that a resumed fit is the same to the last bit
        self._cached.add(nulls(self.examples))
        return self._cached

    def _fit_into(
        self, place: Path, setting: Setting, fit: Fit, model: StagedModel, note: Note
    ) -> None:
        rng = np.random.default_rng([self.plan.study.seed, int(place.name, 16) % 2**32])
        mitigation = mitigation_of(setting, fit)
        began = time.monotonic()
        if setting.selection:
            mitigation = with_sites(mitigation, self._sites(setting, note))
        unusable = mitigation.unusable(self.examples)
        usable = [example for example in self.examples if example.id not in unusable]
        fitted = mitigation.fit(model, usable, rng=rng)
        seconds = time.monotonic() - began
        _save(fitted, place, {"seconds": round(seconds, 2), "photos": len(usable)})

    def _sites(self, setting: Setting, note: Note) -> tuple[str, ...]:
        """The sites of a setting, chosen once for the mitigation and its placebos."""
        assert setting.selection is not None
        key = self.keys.selection(setting)
        path = self.folder / "fits" / f"pick-{key}.json"
        with suppress(BadTable):  # not there, or damaged: chosen anew
            return tuple(read_sealed(path, of=path.stem)["sites"])
        path.parent.mkdir(exist_ok=True)
        search = SiteSearch(
            self.model,
            self.examples,
            self.plan.dataset.classes,
            setting.selection,
            self.plan.study.mitigation.batch,
        )
        rng = np.random.default_rng([self.plan.study.seed, int(key, 16) % 2**32])
        return choose_sites(search, setting.make(), path, rng, note)


def _save(fitted: Fitted, place: Path, about: dict[str, Any]) -> None:
    """A folder that is there whole or not at all."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    fitted.save(temporary)
    names = sorted(path.name for path in temporary.iterdir())
    for name in names:
        to_disk(temporary / name)
    about = {**about, "files": sums_of(temporary, names)}
    write_sealed(temporary / "fit.json", about, of=f"fits/{place.name}")
    shutil.rmtree(place, ignore_errors=True)  # a damaged one
    os.replace(temporary, place)
    to_disk(place.parent)
