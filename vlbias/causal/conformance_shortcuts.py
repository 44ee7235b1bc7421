"""What the engine leaves out must change nothing: prefixes kept, jobs not run, rows encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from vlbias.causal.conformance_outcomes import narrowed
from vlbias.causal.conformance_subject import Subject, Verdict, site_chunks
from vlbias.causal.engine import Arm
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import StagedModel

__all__ = ["check_shortcuts"]

ALLOWED = 10.0
"""So many times the tolerance, since a prefix that is kept rounds otherwise than one that is run."""


def check_shortcuts(subject: Subject) -> Verdict:
    """Potential outcomes are those of the full passes, whichever channel the two worlds differ in.

    A pair that differs in its text alone is continued behind its image, one that differs in its image alone
    before it. A wrong continuation shows in these only: a pair that differs in both keeps no prefix.
    """
    mediators = [Mediator.of([site]) for site in _some_sites(subject.model)]
    worst, count = 0.0, 0
    for name, some in _settings(subject):
        for world in ("cf", *(f"cf-{channel}" for channel in subject.channels)):
            short, full = (some.arms(mediators, world, shortcut=s) for s in (True, False))
            gap = _largest_gap(short, full)
            worst, count = max(worst, gap), count + len(full)
            if gap > ALLOWED * subject.tolerance:
                return False, f"{name}, base against {world}: {gap:.1e} from the full passes"
    return True, f"largest difference {worst:.1e} over {count} potential outcomes"


def _settings(subject: Subject) -> Iterator[tuple[str, Subject]]:
    """Two examples as they are, and with photos of several sizes where a model tells sizes apart."""
    few = list(subject.examples[:2])
    yield "photos as given", replace(subject, examples=few)
    narrow = [narrowed(example, 1 + number) for number, example in enumerate(few)]
    # one photo that has another size in the other world, too: its values cannot be exchanged
    worlds = {**narrow[0].worlds, "cf": few[0].worlds["cf"]}
    several = [replace(narrow[0], worlds=worlds), *narrow[1:]]
    photos = PhotoSizes(subject.model)
    sizes = {
        (tower, photos.of(tower, row))
        for example in several
        for world in ("base", "cf")
        for tower, rows in subject.model.split(example.worlds[world]).items()
        for row in rows
    }
    if len(sizes) > len(subject.model.towers):
        yield "photos of several sizes", replace(subject, examples=several)


def _some_sites(model: StagedModel) -> list[Site]:
    """Every stage; of its first and its last port the middle layer, whole."""
    sites: dict[str, dict[str | None, list[Site]]] = {}
    for tower in model.towers:
        for site in (site for some in site_chunks(model, tower) for site in some):
            sites.setdefault(site.stage, {}).setdefault(site.port, []).append(site)
    chosen = []
    for ports in sites.values():
        names = list(dict.fromkeys((None, *[name for name in ports if name][:1], list(ports)[-1])))
        chosen += [ports[name][len(ports[name]) // 2] for name in names]
    return [replace(site, units=None) for site in chosen]


def _largest_gap(one: Mapping[tuple[str, str], Arm], other: Mapping[tuple[str, str], Arm]) -> float:
    """Largest difference of two sets of arms; infinite where only one is a number."""
    worst = 0.0
    for key, arm in other.items():
        for name, value in arm.readout.items():
            found, expected = one[key].readout[name].double(), value.double()
            # what cuts the tower is read off the other world, also where values cannot be exchanged
            asked = ~(expected.isnan().reshape(len(expected), -1).any(1) & ~arm.misaligned)
            found, expected = found[asked], expected[asked]
            if not torch.equal(found.isnan(), expected.isnan()):
                return float("inf")
            scale = max(_size(expected), 1.0)
            worst = max(worst, _size(found - expected) / scale)
    return worst


def _size(tensor: torch.Tensor) -> float:
    return float(tensor.nan_to_num(0.0).abs().max()) if tensor.numel() else 0.0
