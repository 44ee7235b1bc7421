"""At a glance for a study of mitigations: how much there is, and what helps."""

from __future__ import annotations

import pandas as pd

from vlbias.report.blocks import Glance
from vlbias.report.glance import per_object
from vlbias.report.names import method_in_words
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.claims import claim
from vlbias.studies.mitigation.numbers import Tables
from vlbias.studies.mitigation.other_gaps import with_larger_b
from vlbias.studies.photos.glance import how_much

__all__ = ["at_a_glance"]


def at_a_glance(run: Run, tables: Tables) -> list[Glance]:
    """How much the model shows as it is, and the setting that does most of those that keep performance."""
    null = tables.conditions[tables.conditions["role"] == "none"].iloc[0]
    study = run.manifest["study"]
    photos = int((run.samples["split"] == study["mitigation"]["report"]).sum())
    first = how_much(null, study["dataset"]["groups"], photos=photos)
    objects = int(null["n_objects"])
    chosen = tables.verdicts[tables.verdicts["chosen"]]
    return [first, _what_helps(chosen, objects)] if objects and len(chosen) else [first]


def _what_helps(chosen: pd.DataFrame, objects: int) -> Glance:
    shown = chosen["attributable_adjusted"] == "reduced"
    helps = chosen[shown & ~with_larger_b(chosen)]
    kept = helps[helps["performance_verdict"] == "kept"]
    name = "glance-helps" if len(kept) else "glance-helps-at-a-cost"
    ranked = (kept if len(kept) else helps).sort_values("attributable")
    if ranked.empty:
        said = claim("glance-nothing-helps").say(settings=len(chosen))
        return Glance("What helps?", said, "", "not shown")
    row, others = ranked.iloc[0], len(ranked) - 1
    further = f"; the same holds for {others} more" if others else ""
    said = claim(name).say(setting=method_in_words(row["setting"]), further=further)
    values = (row["attributable"], row["attributable_lo"], row["attributable_hi"])
    number = f"{per_object(*values, objects, less=True)}, beyond its placebo"
    return Glance("What helps?", said, number, "shown")
