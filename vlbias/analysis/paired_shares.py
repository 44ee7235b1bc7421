"""Shares of the same items under several methods: exact tests of each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import mcnemar

from vlbias.analysis.corrections import holm

__all__ = ["paired_differences", "with_holm"]


def paired_differences(right: Mapping[str, Sequence[bool]]) -> pd.DataFrame:
    """Exact McNemar tests of every pair of methods.

    Args:
        right: Name of a method to whether each item is right under it; items in one order.

    Returns:
        One row a pair: first and second, the items that are right under one alone, and p.
    """
    rows = []
    for one, other in combinations(right, 2):
        a, b = np.array(right[one], bool), np.array(right[other], bool)
        only = int((a & ~b).sum()), int((~a & b).sum())
        table = [[int((a & b).sum()), only[0]], [only[1], int((~a & ~b).sum())]]
        p = float(mcnemar(table, exact=True).pvalue) if sum(only) else 1.0
        row: dict[str, Any] = {"first": one, "second": other}
        rows.append({**row, "first_only": only[0], "second_only": only[1], "p": p})
    return pd.DataFrame(rows, columns=["first", "second", "first_only", "second_only", "p"])


def with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with p corrected by Holm over all its rows, as the column p_holm."""
    corrected = holm(frame["p"].to_numpy(float)) if len(frame) else np.zeros(0)
    return frame.assign(p_holm=corrected)
