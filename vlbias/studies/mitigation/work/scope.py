"""What a mitigation changes in a model: which towers and stages, and whether only what towers give.

Told by its places, so that what it cannot change is computed once for all methods, and exactly.
"""

from __future__ import annotations

from vlbias.causal.staged import StagedModel
from vlbias.mitigations.base import Mitigation
from vlbias.mitigations.sites import placed
from vlbias.studies.mitigation.settings import Setting

__all__ = ["acts_on_outputs", "changed_stages", "changes_tokens", "unchanged_towers"]


def unchanged_towers(mitigation: Mitigation | None, model: StagedModel) -> frozenset[str]:
    """Towers that encode a row as they do without the mitigation; a changed input is another row."""
    places = mitigation.places(model) if mitigation else []
    return frozenset(t.name for t in model.towers) - {place.tower.name for place in places}


def acts_on_outputs(mitigation: Mitigation, model: StagedModel) -> bool:
    """Whether it changes nothing but what whole towers give, so that none has to run again."""
    places = mitigation.places(model)
    return bool(places) and all(place.port is None for place in places)


def changed_stages(mitigation: Mitigation | None, model: StagedModel) -> frozenset[str]:
    """Stages that do other than without the mitigation on the same input."""
    places = mitigation.places(model) if mitigation else []
    return frozenset(place.site.stage for place in places)


def changes_tokens(setting: Setting, model: StagedModel) -> bool:
    """Whether a setting can change tokens inside the image encoder, so that there is something to map."""
    mitigation = setting.make()
    if mitigation.place == "input":
        return "regions" in mitigation.needs
    spec = setting.selection
    places = placed(model, spec.candidates) if spec else mitigation.places(model)
    return any(p.site.stage == "image_encoder" and p.port is not None for p in places)
