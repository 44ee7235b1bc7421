"""The cells of a study of mitigations: a condition on one split each, and maps of what changed."""

from __future__ import annotations

from vlbias.causal.staged_model import StagedModel
from vlbias.runs.interfaces import Cell
from vlbias.studies.mitigation.conditions import Part
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.work.affected_stages import changes_tokens
from vlbias.studies.mitigation.work.keys import Keys
from vlbias.studies.mitigation.work.maps import mapped_point

__all__ = ["cells_of", "parts_of"]


def parts_of(plan: MitigationPlan, model: StagedModel) -> list[Part]:
    """What the cells compute, in order; maps where a setting can change tokens of photos."""
    protocol = plan.study.mitigation
    mapped = protocol.maps and mapped_point(model) is not None
    strongest = {
        setting.label: max(setting.strengths)
        for setting in plan.settings
        if mapped and changes_tokens(setting, model)
    }
    return [
        Part(condition, split, "scores", plan.split[split])
        for condition in plan.conditions
        for split in (protocol.choose, protocol.report)
    ] + [
        Part(condition, protocol.report, "map", plan.split[protocol.report])
        for condition in plan.conditions
        if condition.fit is not None
        and condition.fit.draw <= 1
        and condition.strength == strongest.get(condition.fit.setting)
    ]


def cells_of(plan: MitigationPlan, model: StagedModel, keys: Keys) -> list[Cell]:
    """The cells with their keys; scores are tables, maps are arrays."""
    suffix = {"scores": ".parquet", "map": ".npz"}
    return [Cell(keys.cell(part), part, suffix[part.kind]) for part in parts_of(plan, model)]
