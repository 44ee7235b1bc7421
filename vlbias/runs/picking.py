"""Which sites to ablate: candidates ranked by what each takes out, then a set grown greedily."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.functionals import crossfit
from vlbias.analysis.panel import Panel
from vlbias.analysis.rates import measure_rates
from vlbias.causal.example import Example
from vlbias.causal.staged import StagedModel, resolve
from vlbias.files import write_json
from vlbias.mitigations.base import Fitted, Learned, Mitigation
from vlbias.mitigations.greedy import greedy_sites
from vlbias.mitigations.places import placed
from vlbias.runs.passes import Known, Remembering, is_dual, nulls, readouts, rows_of
from vlbias.runs.protocol import PickSpec
from vlbias.runs.recall import Recall

__all__ = ["Picking", "candidates_of", "pick_sites", "standardised_gap", "with_sites"]


@dataclass(frozen=True)
class Picking:
    """What sites are picked with.

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
    spec: PickSpec
    batch: int

    def known(self, photos: Sequence[Example], candidates: Sequence[str]) -> Known:
        """What towers without a candidate encode, once for all that is tried."""
        if not is_dual(self.model):
            return {}
        touched = {place.tower.name for place in placed(self.model, tuple(candidates))}
        towers = {tower.name for tower in self.model.towers} - touched
        memory = Remembering(self.model, self.batch)
        for tower in self.model.towers:
            if tower.name in towers:
                memory.collate(tower.name, rows_of(self.model, tower, nulls(photos)))
        return {tower: memory.known(tower) for tower in towers}


def candidates_of(model: StagedModel, spec: PickSpec) -> list[str]:
    """The sites that patterns name.

    Raises:
        UnknownName: if the model has none of these, with suggestions.
    """
    return [str(site) for one in resolve(model, spec.candidates) for site in one.sites]


def pick_sites(
    picking: Picking,
    mitigation: Any,
    path: Path,
    rng: np.random.Generator,
    note: Callable[[str], None] = lambda text: None,
) -> tuple[str, ...]:
    """The sites of an ablation, chosen on photos of the fit split; `path` keeps how.

    What was tried is kept beside `path` until all is, so that a killed choice goes on where it was.

    What a set takes out is measured, never added up from its members: the cross-fit gap between
    groups of the scores of absent objects, each in its own standard deviations, so that scores which
    merely shrink do not count. Where no site lowers it, the one that raises it least is taken.

    Args:
        picking: Where it is done.
        mitigation: Its `sites` are chosen; all else is kept.
        path: A JSON file that is written.
        rng: Draws the photos.
        note: Hears how far it is.
    """
    photos = _drawn(picking.examples, picking.spec.photos, rng)
    panel = _panel(photos, picking.classes)
    candidates = candidates_of(picking.model, picking.spec)
    known = picking.known(photos, candidates)
    means = replace(mitigation, sites=tuple(candidates)).fit(picking.model, photos, rng=rng)

    stages = {place.site.stage for place in placed(picking.model, tuple(candidates))}
    recall = Recall(picking.model)

    def gap(model: StagedModel) -> float:
        with recall.without(stages):
            scores = np.concatenate(
                [
                    readout["class_logits"].cpu().numpy()
                    for _, readout in readouts(model, nulls(photos), picking.batch, known)
                ]
            )
        return standardised_gap(panel, scores)

    kept = path.with_suffix(".tried.json")
    tried: dict[str, float] = json.loads(kept.read_text()) if kept.is_file() else {}
    if "" not in tried:
        tried[""] = gap(picking.model)
    whole = tried[""]
    every = len(candidates) + (picking.spec.most - 1) * min(picking.spec.width, len(candidates))

    def reduction(sites: tuple[str, ...]) -> float:
        name = " ".join(sites)
        if name not in tried:
            part = Learned({site: means.learned.tensors[site] for site in sites})
            with Fitted(replace(mitigation, sites=sites), part).applied(picking.model) as model:
                tried[name] = whole - gap(model)
            write_json(kept, tried)
            note(f"choosing sites: {len(tried) - 1} sets tried of at most {every}")
        return tried[name]

    singles = {site: reduction((site,)) for site in candidates}
    ranked = sorted(candidates, key=lambda site: -singles[site])
    found = greedy_sites(
        ranked, reduction, target=picking.spec.share * whole, width=picking.spec.width,
        most=picking.spec.most,
    )  # fmt: skip
    if not found.sites:
        # none lowers the gap on these photos: the best of them is judged all the same
        found = replace(found, sites=(ranked[0],), reductions=(singles[ranked[0]],))
    write_json(
        path,
        {
            **asdict(found),
            "gap": whole,
            "photos": len(photos),
            "singles": {s: singles[s] for s in ranked},
        },
    )
    kept.unlink(missing_ok=True)
    return found.sites


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
    placed: Mitigation = replace(itself, sites=sites)
    return placed
