"""What a mitigation changes in a model: which towers and stages, and whether only what towers give.

Told by its sites, so that what it cannot change is computed once for all methods, and exactly.
"""

from __future__ import annotations

from vlbias.causal.staged_model import StagedModel
from vlbias.mitigations.base import Mitigation
from vlbias.mitigations.sites import site_points
from vlbias.studies.mitigation.settings import Setting

__all__ = [
    "acts_on_outputs", "changed_parts", "changed_stages", "changes_tokens", "unchanged_towers",
]  # fmt: skip


def unchanged_towers(mitigation: Mitigation | None, model: StagedModel) -> frozenset[str]:
    """Towers that encode a row as they do without the mitigation; a changed input is another row."""
    points = mitigation.sites_in(model) if mitigation else []
    return frozenset(t.name for t in model.towers) - {point.tower.name for point in points}


def acts_on_outputs(mitigation: Mitigation, model: StagedModel) -> bool:
    """Whether it changes nothing but what whole towers give, so that none has to run again."""
    points = mitigation.sites_in(model)
    return bool(points) and all(point.port is None for point in points)


def changed_stages(mitigation: Mitigation | None, model: StagedModel) -> frozenset[str]:
    """Stages that do other than without the mitigation on the same input."""
    points = mitigation.sites_in(model) if mitigation else []
    return frozenset(point.site.stage for point in points)


def changes_tokens(setting: Setting, model: StagedModel) -> bool:
    """Whether a setting can change tokens inside the image encoder, so that there is something to map."""
    mitigation = setting.make()
    if mitigation.place == "input":
        return "regions" in mitigation.needs
    spec = setting.selection
    points = site_points(model, spec.candidates) if spec else mitigation.sites_in(model)
    return any(p.site.stage == "image_encoder" and p.port is not None for p in points)


def changed_parts(setting: Setting, model: StagedModel) -> list[str]:
    """What a setting acts on, for a picture: stages, or the channel whose input it changes."""
    mitigation = setting.make()
    if mitigation.place == "input":
        return ["image" if "regions" in mitigation.needs else "text"]
    spec = setting.selection
    points = site_points(model, spec.candidates) if spec else mitigation.sites_in(model)
    return sorted({point.site.stage for point in points})
