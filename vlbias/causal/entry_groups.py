"""Mediators sorted by the point at which their first replacement enters a traced tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlbias.causal.call_order import Point, Trace
from vlbias.causal.patching import PatchTarget
from vlbias.causal.resumption import Resumption, plan_resumption
from vlbias.causal.site import Site
from vlbias.causal.staged_model import StagedModel, Tower, find_port
from vlbias.causal.unit_batch import UnitBatch, unit_batches

__all__ = ["EntryGroup", "entry_groups", "patch_target"]


@dataclass(frozen=True)
class EntryGroup:
    """Mediators whose first replacement enters at one point.

    Args:
        plan: How a pass is resumed behind the point.
        names: Of the mediators.
        unit_batches: Those of them that are run many at a time.
        others: Names of those in no unit batch.
    """

    plan: Resumption
    names: list[str]
    unit_batches: list[UnitBatch]
    others: list[str]


def patch_target(model: StagedModel, tower: Tower, traced: Trace, site: Site) -> PatchTarget:
    """Where a site lies in the trace of its tower."""
    port = find_port(model, site)
    if port is None:
        stage = next(stage for stage in tower.stages if stage.name == site.stage)
        point: Point = (stage.module, "out")
    else:
        point = (port.path(site.layer), port.slot)
    length = (port.length if port is not None else None) or tower.length
    return PatchTarget(site, port, point, traced.moment(point, model.name), length)


def entry_groups(
    model: StagedModel,
    tower: Tower,
    traced: Trace,
    targets: Mapping[str, Sequence[PatchTarget]],
) -> list[EntryGroup]:
    """The groups of mediators, the one that enters first at the front.

    Args:
        model: The model.
        tower: One of its towers.
        traced: The tower's calls.
        targets: Mediator name to its targets, the first that is reached first.

    Raises:
        StageCallError: if a module at which mediators enter is not called exactly once.
    """
    members: dict[Point, list[str]] = {}
    for name, reached in targets.items():
        members.setdefault(reached[0].point, []).append(name)
    groups = []
    for point, names in sorted(
        members.items(), key=lambda item: traced.moment(item[0], model.name)
    ):
        stage = targets[names[0]][0].site.stage
        plan = plan_resumption(traced, tower, point, stage, model.name)
        groups.append(EntryGroup(plan, names, *unit_batches(targets, names)))
    return groups
