"""From a run folder of photos to every number of its page: frames, no prose, no figures."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from vlbias.analysis.curve_gaps import auc_gaps, superiority_gaps
from vlbias.errors import BadTable
from vlbias.runs.events import Note, silent
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers.box_quality import box_quality
from vlbias.studies.bias.numbers.effects import contrast_effects
from vlbias.studies.bias.numbers.exactness import exactness
from vlbias.studies.bias.numbers.families import statements
from vlbias.studies.bias.numbers.nearest import recall_by_nearest
from vlbias.studies.bias.numbers.racing import race_table, raced_effects
from vlbias.studies.bias.numbers.screening import screening
from vlbias.studies.bias.numbers.sensitivity import sensitivity
from vlbias.studies.bias.numbers.strictness import levels, strictness
from vlbias.studies.bias.numbers.worlds import (
    conditions,
    context_of,
    disparity_of,
    modalities,
    operating_points,
    pooled,
)
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["Tables", "numbers"]


@dataclass(frozen=True)
class Tables:
    """Everything a page shows, as tidy frames.

    Args:
        bias: One row: B of the null world with floor, tests, limits and support.
        objects: One row per object: rates, gap, limits, p-values, AUC gap, superiority, support.
        context: B without what all objects share, and adjusted for co-occurring objects.
        conditions: One row per world: B, floor, p, mean false-positive rate, presence mAP.
        boxes: One row per world: average precision of found boxes; no row if none were kept.
        effects: One row per contrast, mediator, effect and functional.
        tree: Hierarchical tests of indirect effects, encoder to head.
        modalities: The 2 x 2 of modalities: image, text, both, and their interaction.
        operating: B over a grid of operating points.
        strictness: What each world changes, beside thresholds as strict and beside its placebo.
        statements: The statements of the page on its worlds, as one family.
        levels: Either group's mean false-positive rate before and after each contrast.
        sensitivity: B under other label rules, wrong labels and irrelevant changes.
        thresholds: The operating point, per class.
        rows: How many rows of the table have which status.
        checks: What must hold exactly, and what was found.
        shape: Whether the bias is a few large gaps or many small ones.
        nearest: Recall of objects by the group of the person nearest to them; no row if that is not known.
        screening: What was chosen by an approximation, and how good that was; no row if all was run.
        racing: What is claimed of raced units, and when they left; no row if nothing was raced.
    """

    bias: pd.DataFrame
    objects: pd.DataFrame
    context: pd.DataFrame
    conditions: pd.DataFrame
    boxes: pd.DataFrame
    effects: pd.DataFrame
    tree: pd.DataFrame
    modalities: pd.DataFrame
    operating: pd.DataFrame
    strictness: pd.DataFrame
    statements: pd.DataFrame
    levels: pd.DataFrame
    sensitivity: pd.DataFrame
    thresholds: pd.DataFrame
    rows: pd.DataFrame
    checks: pd.DataFrame
    shape: pd.DataFrame
    nearest: pd.DataFrame
    screening: pd.DataFrame
    racing: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run with presence scores.

    Raises:
        BadTable: if cells are missing, or the run has no presence scores.
    """
    if "presence" not in run.manifest["study"]["outcomes"]:
        raise BadTable(
            f"{run.folder}: a page needs the outcome 'presence'; for 'match' use vlbias.effects(run.frame())"
        )
    job = PresenceScores(run, draws=draws, seed=seed)
    note("bias of the null world")
    bias = disparity_of(job, job.null)
    gaps_of_all, shape = pooled(job)
    objects = bias.objects.merge(gaps_of_all, on="object", how="left")
    for gaps, prefix in ((auc_gaps, "auc"), (superiority_gaps, "superiority")):
        found = gaps(job.panel, job.null, permutations=0, rng=job.rng()).objects
        named = {name: f"{prefix}_{name}" for name in found.columns if name.startswith("gap_")}
        objects = objects.merge(
            found.rename(columns=named)[["object", *named.values()]], on="object"
        )
    note("context")
    beside = context_of(job)
    note("worlds")
    worlds = conditions(job)
    note("boxes")
    boxes = box_quality(job)
    table, tree = contrast_effects(job, note)
    raced = pd.concat([race_table(run, name) for name in job.contrasts], ignore_index=True)
    table = raced_effects(table, raced)
    note("placebos, operating points and sensitivity")
    strict = strictness(job)
    thresholds = pd.DataFrame({"object": run.targets, "threshold": job.thresholds})
    return Tables(
        bias.frame(),
        objects,
        beside,
        worlds,
        boxes,
        table,
        tree,
        modalities(job),
        operating_points(job),
        strict,
        statements(strict),
        levels(job),
        sensitivity(job),
        thresholds,
        run.statuses,
        exactness(job, table),
        shape,
        recall_by_nearest(job),
        screening(job),
        raced,
    )
