"""Whether B grows although the gaps that the model had get smaller: others open, or these turn round."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["told_apart", "with_larger_b"]


def with_larger_b(verdicts: pd.DataFrame) -> pd.Series[bool]:
    """Settings under which the cross-fit estimate of B is above that of the model as it is.

    B_lin weighs gaps in the direction that they had. A setting that turns them round, or opens others, can
    lower it and raise B: no remedy.
    """
    return verdicts["B_crossfit"] > verdicts["B_crossfit_null"]


def told_apart(verdicts: pd.DataFrame, column: str) -> pd.Series[Any]:
    """The words of a statement on B_lin; "reduced" says so where B is estimated to be larger."""
    words = verdicts[column].astype(object)
    return words.mask((words == "reduced") & with_larger_b(verdicts), "reduced, B larger")
