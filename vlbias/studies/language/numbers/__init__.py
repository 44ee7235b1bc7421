"""From a run of texts to frames: effects on odds, side by side and never summed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.studies.arms.screened_units import screened_units
from vlbias.studies.language.numbers.contrast_odds import OUTCOME, ContrastOdds
from vlbias.studies.language.numbers.exactness import checks
from vlbias.studies.language.numbers.joint_mediators import decompositions, parts_of, synergies
from vlbias.studies.language.numbers.racing import race_table, raced_effects
from vlbias.studies.language.numbers.stereotype_scores import score_correlations

__all__ = ["Tables", "numbers"]


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of a language model's run, as tidy frames.

    Args:
        totals: Total effects per contrast, set of samples and summary.
        effects: Effects of every mediator, over all samples and over the filtered ones.
        filters: The filter of every contrast: aligned, threshold, kept.
        synergy: Joint indirect effects against the sums of their parts' effects.
        decomposition: Direct and indirect effects of joint mediators, and how far they add up.
        correlation: Of the bias score of words with their effects, where samples have a score.
        checks: What must hold exactly, and what was found.
        screening: What was chosen by an approximation, and how good that was.
        racing: What is claimed of raced units, and when they left; no row if nothing was raced.
        rows: How many rows of the table have which status.
    """

    totals: pd.DataFrame
    effects: pd.DataFrame
    filters: pd.DataFrame
    synergy: pd.DataFrame
    decomposition: pd.DataFrame
    correlation: pd.DataFrame
    checks: pd.DataFrame
    screening: pd.DataFrame
    racing: pd.DataFrame
    rows: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """The tables of a run with log-odds.

    Args:
        run: A finished run.
        draws: Resampling draws of every interval and test.
        seed: Of the draws.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged.
    """
    refuse_unfinished(run)
    frames: dict[str, list[pd.DataFrame]] = {
        field.name: [] for field in fields(Tables) if field.name != "rows"
    }
    for contrast in run.manifest["contrasts"]:
        note(f"effects of {contrast}")
        for target in _targets(run):
            odds = ContrastOdds(run, contrast, target, draws, seed)
            for name, frame in _tables(odds).items():
                frames[name].append(frame.assign(contrast=contrast, target=target))
    joined = {name: pd.concat(found, ignore_index=True) for name, found in frames.items()}
    return Tables(**joined, rows=run.statuses)


def _targets(run: Run) -> list[str]:
    """The targets of the log-odds: those that have any value."""
    first = next(iter(run.manifest["contrasts"]))
    known = ~np.asarray(np.isnan(run.slab(first, "", "00", OUTCOME)).all(axis=0))
    return [target for target, there in zip(run.targets, known, strict=True) if there]


def _tables(contrast: ContrastOdds) -> dict[str, pd.DataFrame]:
    """Name to table of one contrast and target."""
    raced, parts = race_table(contrast.run, contrast.name), parts_of(contrast.run)
    effects = raced_effects(contrast.effects().assign(contrast=contrast.name), raced)
    return {
        "totals": contrast.totals(),
        "effects": effects,
        "filters": contrast.filters(),
        "synergy": synergies(effects[effects["samples"] == "all"], parts),
        "decomposition": decompositions(contrast, parts),
        "correlation": score_correlations(contrast),
        "checks": checks(contrast),
        "screening": screened_units(contrast.run, contrast.name, contrast.exact()),
        "racing": raced,
    }
