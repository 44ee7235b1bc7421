"""Scores of the words' stereotypes beside the effects of the words."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from vlbias.studies.language.numbers.contrast_odds import ContrastOdds

__all__ = ["score_correlations"]

_COLUMNS = ["quantity", "pearson", "spearman", "words"]


def score_correlations(contrast: ContrastOdds) -> pd.DataFrame:
    """Pearson and Spearman of the words' scores with their mean log-odds and mean log effect.

    Args:
        contrast: Its log-odds.

    Returns:
        Columns quantity, pearson, spearman and words; no rows where samples have no score.
    """
    samples, odds = contrast.run.samples, contrast.odds
    if "score" not in samples or samples["score"].isna().any():
        return pd.DataFrame(columns=_COLUMNS)
    score = samples["score"].astype(float)
    # towards "he", whichever candidate comes first
    towards = np.where(samples["group"] == "feminine", 1.0, -1.0)
    quantities = {
        "log-odds of he to she in the null world": towards * odds.y00,
        "log total effect": odds.y11 - odds.y00,
    }
    rows = []
    for name, value in quantities.items():
        words = pd.DataFrame({"w": samples["cluster"], "s": score, "v": value}).groupby("w").mean()
        if len(words) > 2 and words["s"].nunique() > 1 and words["v"].nunique() > 1:
            pearson, spearman = (
                float(test(words["s"], words["v"]).statistic) for test in (pearsonr, spearmanr)
            )
            rows.append(dict(zip(_COLUMNS, (name, pearson, spearman, len(words)), strict=True)))
    return pd.DataFrame(rows, columns=_COLUMNS)
