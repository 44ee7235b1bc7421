"""What a mitigation reaches in a model: which towers, and whether only what they give.

Told by its sites, so that what it cannot change is computed once for all methods, and exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlbias.causal.staged import StagedModel
from vlbias.mitigations.base import Mitigation
from vlbias.mitigations.places import placed
from vlbias.runs.protocol import Setting

__all__ = ["acts_on_outputs", "changes_tokens", "sites_of", "spared", "touched"]


def sites_of(mitigation: Mitigation) -> tuple[str, ...]:
    """Its sites, as its settings name them; none for what acts on inputs."""
    spec = mitigation.spec
    return tuple(spec.get("sites") or ([spec["site"]] if "site" in spec else []))


def spared(mitigation: Mitigation | None, model: StagedModel) -> frozenset[str]:
    """Towers that encode a row as they do without the mitigation."""
    every = frozenset(tower.name for tower in model.towers)
    if mitigation is None or mitigation.place == "input":
        return every  # a changed input is another row
    sites = sites_of(mitigation)
    return every - {place.tower.name for place in placed(model, sites)} if sites else frozenset()


def acts_on_outputs(mitigation: Mitigation | None, model: StagedModel) -> bool:
    """Whether it changes nothing but what whole towers give, so that none has to run again."""
    if mitigation is None or mitigation.place != "features":
        return mitigation is None
    sites = sites_of(mitigation)
    return bool(sites) and all(place.port is None for place in placed(model, sites))


def touched(mitigation: Mitigation | None, model: StagedModel) -> frozenset[str]:
    """Stages that do other than without the mitigation on the same input: all, if it names no sites."""
    if mitigation is None or mitigation.place == "input":
        return frozenset()  # a changed input is another one
    sites = sites_of(mitigation)
    if not sites:
        return frozenset(stage.name for tower in model.towers for stage in tower.stages)
    return frozenset(place.site.stage for place in placed(model, sites))


def changes_tokens(setting: Setting, model: StagedModel) -> bool:
    """Whether a setting can change tokens inside the image encoder, so that there is something to map."""
    mitigation = setting.make()
    if mitigation.place == "input":
        return "regions" in mitigation.needs
    sites: Sequence[str] = setting.pick.candidates if setting.pick else sites_of(mitigation)
    return not sites or any(
        place.site.stage == "image_encoder" and place.port is not None
        for place in placed(model, sites)
    )
