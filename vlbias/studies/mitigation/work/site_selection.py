"""Which sites to ablate: candidates ranked by what each takes out, then a set grown greedily."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.functionals import crossfit
from vlbias.analysis.panel import Panel
from vlbias.analysis.rates import measure_rates
from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.errors import BadTable
from vlbias.files import read_sealed, write_sealed
from vlbias.mitigations.base import Fitted, Learned, Mitigation
from vlbias.mitigations.greedy_search import greedy_sites
from vlbias.mitigations.sites import site_points
from vlbias.runs.events import Note, silent
from vlbias.studies.mitigation.retrieval_texts import is_dual
from vlbias.studies.mitigation.study import SiteSelection
from vlbias.studies.mitigation.work.cached_towers import CachedTowers
from vlbias.studies.mitigation.work.passes import Known, nulls, readouts, rows_of
from vlbias.studies.mitigation.work.stage_cache import StageCache

__all__ = ["SiteSearch", "candidates_of", "choose_sites", "standardised_gap", "with_sites"]


@dataclass(frozen=True)
class SiteSearch:
    """Where sites are searched: a model, photos, and what is tried.

    Args:
        model: Unmitigated.
        examples: Of the fit split.
        classes: Of the presence scores.
        spec: What is tried.
        batch: Photos at a time.
    """

    model: StagedModel
    examples: Sequence[Example]
    classes: tuple[str, ...]
    spec: SiteSelection
    batch: int

    def known(self, photos: Sequence[Example], candidates: Sequence[str]) -> Known:
        """What towers without a candidate encode, once for all that is tried."""
        if not is_dual(self.model):
            return {}
        touched = {place.tower.name for place in site_points(self.model, tuple(candidates))}
        towers = {tower.name for tower in self.model.towers} - touched
        cache = CachedTowers(self.model, self.batch)
        for tower in self.model.towers:
            if tower.name in towers:
                cache.collate(tower.name, rows_of(self.model, tower, nulls(photos)))
        return {tower: cache.known(tower) for tower in towers}

    def gap(
        self, photos: Sequence[Example], candidates: Sequence[str]
    ) -> Callable[[StagedModel], float]:
        """A function from a model in which some of the candidates are changed to its gap."""
        panel, known = _panel(photos, self.classes), self.known(photos, candidates)
        stages = {place.site.stage for place in site_points(self.model, tuple(candidates))}
        cache = StageCache(self.model)

        def gap_of(model: StagedModel) -> float:
            with cache.used(stages):
                parts = [
                    readout["class_logits"].cpu().numpy()
                    for _, readout in readouts(model, nulls(photos), self.batch, known)
                ]
            return standardised_gap(panel, np.concatenate(parts))

        return gap_of


def candidates_of(model: StagedModel, spec: SiteSelection) -> list[str]:
    """The sites that patterns name.

    Raises:
        UnknownName: if the model has none of these, with suggestions.
    """
    return [str(site) for one in resolve(model, spec.candidates) for site in one.sites]


def choose_sites(
    search: SiteSearch,
    mitigation: Any,
    path: Path,
    rng: np.random.Generator,
    note: Note = silent,
) -> tuple[str, ...]:
    """The sites of an ablation, chosen on photos of the fit split; `path` keeps how.

    What was tried is kept beside `path` until all is, so that a killed choice goes on where it was.

    What a set takes out is measured, never added up from its members: the cross-fit gap between
    groups of the scores of absent objects, each in its own standard deviations, so that scores which
    merely shrink do not count. Where no site lowers it, the one that raises it least is taken.

    Args:
        search: Where it is done.
        mitigation: Its `sites` are chosen; all else is kept.
        path: A JSON file that is written.
        rng: Draws the photos.
        note: Hears how far it is.
    """
    photos = _drawn(search.examples, search.spec.photos, rng)
    candidates = candidates_of(search.model, search.spec)
    gap = search.gap(photos, candidates)
    means = replace(mitigation, sites=tuple(candidates)).fit(search.model, photos, rng=rng)

    def gap_without(sites: tuple[str, ...]) -> float:
        if not sites:
            return gap(search.model)
        part = Learned({site: means.learned.tensors[site] for site in sites})
        with Fitted(replace(mitigation, sites=sites), part).applied(search.model) as model:
            return gap(model)

    every = 1 + len(candidates) + (search.spec.most - 1) * search.spec.width
    tried = _Tried(path.with_suffix(".tried.json"), gap_without, every, note)
    whole = tried.gap(())

    def reduction(sites: tuple[str, ...]) -> float:
        return whole - tried.gap(sites)

    singles = {site: reduction((site,)) for site in candidates}
    ranked = sorted(candidates, key=lambda site: -singles[site])
    found = greedy_sites(
        ranked, reduction, target=search.spec.share * whole, width=search.spec.width,
        most=search.spec.most,
    )  # fmt: skip
    if not found.sites:
        # none lowers the gap on these photos: the best of them is judged all the same
        found = replace(found, sites=(ranked[0],), reductions=(singles[ranked[0]],))
    write_sealed(
        path,
        {
            **asdict(found),
            "gap": whole,
            "photos": len(photos),
            "singles": {s: singles[s] for s in ranked},
        },
        of=path.stem,
    )
    tried.forget()
    return found.sites


class _Tried:
    """Gaps of the sets that were tried, kept in a file as they come."""

    def __init__(
        self,
        path: Path,
        compute: Callable[[tuple[str, ...]], float],
        most: int,
        note: Note,
    ) -> None:
        self._path, self._compute, self._most, self._note = path, compute, most, note
        self._gaps: dict[str, float] = {}
        with suppress(BadTable):  # not there, or damaged: tried anew
            self._gaps = read_sealed(path, of=path.stem)

    def gap(self, sites: tuple[str, ...]) -> float:
        """The gap of a set, from the file if it is there."""
        name = " ".join(sites)
        if name not in self._gaps:
            self._gaps[name] = self._compute(sites)
            write_sealed(self._path, self._gaps, of=self._path.stem)
            self._note(f"choosing sites: {len(self._gaps)} sets tried of at most {self._most}")
        return self._gaps[name]

    def forget(self) -> None:
        """Nothing is kept any longer."""
        self._path.unlink(missing_ok=True)


def standardised_gap(panel: Panel, scores: NDArray[Any]) -> float:
    """Cross-fit sum over classes of the gap of absent photos' mean scores, in standard deviations."""
    spread = scores.std(axis=0)
    safe = np.where(spread > 0, spread, 1.0)
    rates = measure_rates(panel, (scores - scores.mean(axis=0)) / safe, "score")
    seen = np.flatnonzero((rates.count >= 2).all(axis=0))
    return float(crossfit(rates.gap[:, seen], rates.spread[:, seen]))


def _drawn(examples: Sequence[Example], count: int, rng: np.random.Generator) -> list[Example]:
    """So many photos, as many of every group, in their order."""
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(example.attributes["group"], []).append(number)
    each = min(count // len(groups), *map(len, groups.values()))
    chosen = [int(i) for members in groups.values() for i in rng.permutation(members)[:each]]
    return [examples[i] for i in sorted(chosen)]


def _panel(photos: Sequence[Example], classes: tuple[str, ...]) -> Panel:
    columns = (
        np.array([photo.id for photo in photos]),
        np.array([photo.cluster for photo in photos]),
        np.array([photo.attributes["group"] for photo in photos]),
        np.array([photo.attributes["split"] for photo in photos]),
    )
    present = np.array([[name in photo.targets["present"] for name in classes] for photo in photos])
    return Panel(*columns, classes, present)


def with_sites(mitigation: Mitigation, sites: tuple[str, ...]) -> Mitigation:
    """The mitigation at these sites."""
    itself: Any = mitigation
    chosen: Mitigation = replace(itself, sites=sites)
    return chosen
