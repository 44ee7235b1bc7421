"""What is raced in a study of texts: the mean change of the log-odds through each unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vlbias.store.run_folder import Run
from vlbias.studies.arms.raced_units import RacedValues, raced_units, with_raced_p
from vlbias.studies.language.numbers.contrast_odds import OUTCOME

__all__ = ["log_odds_changes", "race_table", "raced_effects"]


def log_odds_changes(run: Run, contrast: str, units: Sequence[str]) -> RacedValues:
    """Log-odds of the first candidate with the unit of the other world, minus those without, text by text."""
    first = run.slab(contrast, "", "00", OUTCOME).astype(np.float64)
    column = int(np.flatnonzero(~np.isnan(first).all(axis=0))[0])
    changes = [run.slab(contrast, unit, "01", OUTCOME)[:, column] for unit in units]
    values = np.stack(changes, axis=1) - first[:, [column]]
    rows = np.arange(len(run.samples))
    return RacedValues(rows, values, np.zeros(len(rows), np.intp))


def race_table(run: Run, contrast: str) -> pd.DataFrame:
    """Who left when, and what is claimed; see `raced_units`."""
    return raced_units(run, contrast, log_odds_changes)


def raced_effects(effects: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Effects of a contrast, whose units have the adjusted p of the race."""
    is_raced = (effects["effect"] == "NIE") & (effects["summary"] == "log")
    return with_raced_p(effects, table, is_raced & (effects["samples"] == "all"))
