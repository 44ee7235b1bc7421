"""What screening chose, and how good its approximation was."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.preselection import screening_quality
from vlbias.store.parquet import read_frame
from vlbias.studies.language.numbers.contrast_odds import ContrastOdds

__all__ = ["screened_units"]


def screened_units(contrast: ContrastOdds) -> pd.DataFrame:
    """Approximate effects of the units against the exact ones; no rows where the run was not screened.

    Args:
        contrast: Its log-odds.
    """
    if "screen" not in contrast.run.manifest:
        return pd.DataFrame()
    table = read_frame(contrast.run.folder / contrast.run.manifest["screen"]["table"])
    exact = {
        name: float(np.nanmean(y01 - contrast.odds.y00)) if not np.isnan(y01).all() else np.nan
        for name, y01, _ in contrast.mediators
    }
    own = table[table["contrast"] == contrast.name]
    return screening_quality(own, pd.Series(exact, dtype=float))
