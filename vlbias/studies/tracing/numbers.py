"""The numbers of a run of causal tracing: the map of each group of facts, and the contrast of two maps."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.studies.knowledge.effect_map import CONTRAST, EffectMap, contrast_of, traced_facts

__all__ = ["Tables", "numbers"]


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of a run, as tidy frames.

    Args:
        facts: One row a fact: whether it is known, probability of its answer in the clean and corrupted worlds.
        totals: One row a group: how many facts are known and traced, and the total effect.
        effects: One row a group, part, layer and role: effect of restoring, and its share of the total.
        contrast: One row a part, layer and role: share in the first group less that in the second.
    """

    facts: pd.DataFrame
    totals: pd.DataFrame
    effects: pd.DataFrame
    contrast: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Of the bootstrap over subjects.
        seed: Of these.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged.
    """
    refuse_unfinished(run)
    study = run.manifest["study"]
    records = [
        one for path in run.files for one in json.loads(path.read_text(encoding="utf-8"))["facts"]
    ]
    facts = traced_facts(run.samples, records)
    note("resampling subjects")
    groups = study["compare"] or ["all"]
    maps = [
        EffectMap.of(group, facts, records, draws, np.random.default_rng([seed, number]))
        for number, group in enumerate(groups)
    ]
    return Tables(
        facts,
        pd.DataFrame([one.total for one in maps]),
        pd.concat([one.effects for one in maps], ignore_index=True),
        contrast_of(*maps) if len(maps) == 2 else pd.DataFrame(columns=CONTRAST),
    )
