"""Mediators that pass on all that a tower passes on."""

from __future__ import annotations

from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, Tower, find_port

__all__ = ["cuts_tower"]


def cuts_tower(model: StagedModel, tower: Tower, mediator: Mediator) -> bool:
    """Whether every path from an input to the end of the tower leads through the mediator.

    A path is closed by a stage that is replaced whole, or by its residual stream. The natural
    indirect effect of such a mediator is the total effect by construction.
    """
    closed = set()
    for site in mediator.sites:
        port = find_port(model, site)
        if (port is None or port.cut) and (site.units, site.positions) == (None, None):
            closed.add(site.stage)
    reached: set[str] = set()
    for stage in tower.stages:
        if stage.name not in closed and (not stage.parents or reached & set(stage.parents)):
            reached.add(stage.name)
    passed_on = {parent for stage in tower.stages for parent in stage.parents}
    ends = {stage.name for stage in tower.stages if stage.ends or stage.name not in passed_on}
    return not reached & ends
