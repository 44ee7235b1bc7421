"""The Pareto front of bias against performance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["pareto"]


def pareto(bias: npt.ArrayLike, performance: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """[n] whether no other point has both less bias and more performance, one of them strictly."""
    b, p = np.asarray(bias, dtype=np.float64), np.asarray(performance, dtype=np.float64)
    better = (b[:, None] >= b) & (p[:, None] <= p) & ((b[:, None] > b) | (p[:, None] < p))
    return np.asarray(~better.any(axis=1))
