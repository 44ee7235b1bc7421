"""What manifest.json says of a run of mitigations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlbias.causal.staged_model import StagedModel
from vlbias.runs.interfaces import Cell
from vlbias.runs.manifest import described
from vlbias.studies.arms.work import about_data, about_model, about_stages
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.work.affected_stages import changed_parts
from vlbias.studies.mitigation.work.keys import Keys
from vlbias.studies.photos.run_files import photo_choices

__all__ = ["manifest_of"]


def manifest_of(
    plan: MitigationPlan, folder: Path, model: StagedModel, keys: Keys, cells: Sequence[Cell]
) -> dict[str, Any]:
    """Everything but the numbers: study, model, data, conditions, settings, and what each cell holds."""
    study, parts = plan.study, {cell.key: _part(cell) for cell in cells}
    scores = [key for key, part in parts.items() if part["kind"] == "scores"]
    asked = plan.asked[study.mitigation.report]
    return {
        **described(study, scores, plan.rows, device=study.device),
        **about_data(plan.dataset, folder, plan.files),
        **about_model(model),
        "targets": plan.targets,
        "stages": about_stages(model),
        "mediators": {},
        "contrasts": {"null->null": {"alters": [], "mediators": []}},
        "paper_unknowns": photo_choices(
            study,
            plan.dataset,
            model=model.name,
            regions=(),
            fills=(),
            calibrated_on=study.mitigation.choose,
            mediators=0,
        ),
        "conditions": [
            {**condition.about(), "fit": keys.fits[condition.fit] if condition.fit else ""}
            for condition in plan.conditions
        ],
        "settings": {
            setting.label: {
                "method": setting.method,
                "varied": setting.varied,
                "spec": setting.make().spec,
                "place": setting.make().place,
                "changes": changed_parts(setting, model),
            }
            for setting in plan.settings
        },
        "parts": parts,
        "queries": dict(asked.queries or {}),
        "retrieval": bool(asked.captions),
    }


def _part(cell: Cell) -> dict[str, str]:
    part: Any = cell.part
    return {"condition": part.condition.name, "split": part.split, "kind": part.kind}
