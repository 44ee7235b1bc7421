"""Run only the units that an approximation points at; what is skipped is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlbias.analysis.preselection import COLUMNS, preselect
from vlbias.causal.attribution import Score, mean_attributions
from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy
from vlbias.files import whole
from vlbias.runs.data_files import keyed_data
from vlbias.runs.events import Note
from vlbias.store.cell_writer import cell_key
from vlbias.store.parquet import read_frame
from vlbias.studies.arms.plan import ArmsPlan, S

__all__ = ["screened", "thinned"]


def screened(
    plan: ArmsPlan[S],
    examples: Sequence[Example],
    folder: Path,
    model: StagedModel,
    note: Note,
    *,
    score: Callable[[Contrast], Score],
) -> tuple[ArmsPlan[S], dict[str, Any]]:
    """The plan with the chosen units and their controls only, and what the manifest says of it.

    The approximate effects of every unit are written once, to `screen.KEY.parquet` in the run folder,
    and read when the run is resumed. Mediators without units (layers, joint ones) are always run.

    Args:
        plan: A study with a share of units in `screen`, or without.
        examples: Those that choose.
        folder: The run folder.
        model: The loaded model.
        note: Told what is being done.
        score: Of a contrast, what is approximated.

    Raises:
        BadStudy: if the study is screened and has no mediator with units.
    """
    study = plan.study
    if study.screen is None:
        return plan, {}
    path = folder / f"screen.{_key(plan, examples, folder, model)}.parquet"
    if not path.is_file():
        table = _table(plan, examples, model, score, note)
        with whole(path) as temporary:
            table.to_parquet(temporary)
    table = read_frame(path, COLUMNS)
    part = table.drop_duplicates("mediator").set_index("mediator")["part"]
    skipped = frozenset(part.index[part == "skipped"])
    kept = tuple(mediator for mediator in plan.mediators if mediator.name not in skipped)
    counts = {name: int((part == name).sum()) for name in ("chosen", "control", "skipped")}
    note(
        f"screening (approximate): {counts['chosen']} units chosen, {counts['control']} more as controls, "
        f"{counts['skipped']} skipped: {path.name} names them"
    )
    about = {"fraction": study.screen, "table": path.name, **counts}
    return replace(plan, mediators=kept), {"screen": about}


def thinned(plan: ArmsPlan[S]) -> ArmsPlan[S]:
    """The plan with about as many units as screening will leave, evenly taken, to tell what it costs."""
    if plan.study.screen is None:
        return plan
    units = _units(plan)
    step = max(1, round(1 / plan.study.screen))
    few = {unit.name for unit in units[::step]}
    names = {unit.name for unit in units}
    kept = tuple(m for m in plan.mediators if m.name in few or m.name not in names)
    return replace(plan, mediators=kept)


def _units(plan: ArmsPlan[S]) -> list[Mediator]:
    found = [m for m in plan.mediators if len(m.sites) == 1 and m.sites[0].units is not None]
    if not found:
        given = ", ".join(plan.study.mediators)
        raise BadStudy(
            "screen", plan.study.screen, f"mediators with units, 'lm/head.*[*]' ({given})"
        )
    return found


def _key(plan: ArmsPlan[S], examples: Sequence[Example], folder: Path, model: StagedModel) -> str:
    return cell_key(
        {
            "screen": plan.study.screen,
            "seed": plan.study.seed,
            "contrasts": list(plan.study.contrasts),
            "mediators": [str(mediator) for mediator in plan.mediators],
            "model": model.revision,
            "data": keyed_data(folder, plan.dataset.content_hash, plan.files),
            "samples": [example.id for example in examples],
        }
    )


def _table(
    plan: ArmsPlan[S],
    examples: Sequence[Example],
    model: StagedModel,
    score: Callable[[Contrast], Score],
    note: Note,
) -> pd.DataFrame:
    units, study = _units(plan), plan.study
    assert study.screen is not None
    pairs = [pair for pair in study.pairs if pair.base != pair.cf]
    means = np.full((len(pairs), len(units)), np.nan)
    for row, pair in enumerate(pairs):
        note(f"screening {pair.name}: {len(units)} units, {len(examples)} {plan.unit}")
        means[row] = mean_attributions(model, examples, pair, units, of=score(pair))[0].numpy()
    part = preselect(means, study.screen, study.seed)
    names = [unit.name for unit in units]
    tables = [
        pd.DataFrame(dict(zip(COLUMNS, (pair.name, names, mean, part), strict=True)))
        for pair, mean in zip(pairs, means, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)
