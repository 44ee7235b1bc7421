"""Many tests at once: false discovery rate, step-down max-T, and testing down a tree of parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.multitest import multipletests

from vlbias.analysis.inference import rounded_down
from vlbias.analysis.panel import Floats
from vlbias.errors import BadTable

__all__ = ["benjamini_hochberg", "hierarchical", "holm", "step_down"]


def benjamini_hochberg(p: npt.ArrayLike, *, skipped: int = 0) -> npt.NDArray[np.float64]:
    """[...] p-values adjusted for the false discovery rate; NaN stays NaN and is not counted.

    Args:
        p: Of the tests that were made.
        skipped: Tests that a look at the same data left out. Each counts with p = 1, which is valid
            whatever the look was; to leave them out would make a family of what seemed largest.
    """
    values = np.asarray(p, dtype=np.float64)
    every = np.r_[values.ravel(), np.ones(skipped)]
    return _adjusted(every, "fdr_bh")[: values.size].reshape(values.shape)


def holm(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[...] p-values adjusted so that any false finding has the level's probability (Holm 1979).

    NaN stays NaN and is not counted.
    """
    return _adjusted(p, "holm")


def _adjusted(p: npt.ArrayLike, method: str) -> npt.NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    tested = ~np.isnan(values)
    if tested.any():
        adjusted[tested] = multipletests(values[tested], method=method)[1]
    return adjusted


def step_down(observed: Floats, drawn: Floats) -> npt.NDArray[np.float64]:
    """[J] p-values adjusted by step-down max-T (Westfall & Young 1993, algorithm 4.1).

    Controls the probability of any false rejection and uses the dependence between the tests.

    Args:
        observed: [J] absolute studentised statistics.
        drawn: [R, J] the same under the joint null hypothesis.
    """
    order = np.argsort(-observed, kind="stable")
    # largest draw among this and all less significant hypotheses
    tail = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
    count = (tail >= rounded_down(observed[order])[None]).sum(axis=0)
    ranked = np.maximum.accumulate((1 + count) / (1 + drawn.shape[0]))
    adjusted = np.empty(len(observed))
    adjusted[order] = ranked
    return adjusted


def hierarchical(paths: Sequence[tuple[str, ...]], observed: Floats, drawn: Floats) -> pd.DataFrame:
    """One row per node of a tree of parts, with p-values that control any false rejection.

    Meinshausen (Biometrika 2008): a node with m of all J leaves has its max-T p-value multiplied by
    J / m, and is never less than its parent's. Broad parts are thus tested at nearly the full level
    and single heads only below significant layers.

    Args:
        paths: J paths from root to leaf, for example ("image_encoder", "layer 3", "head 5").
        observed: [J] absolute studentised statistics of the leaves.
        drawn: [R, J] the same under the joint null.

    Returns:
        Columns node (names joined by "/"), depth, leaves, p, p_adjusted; parents before children.

    Raises:
        BadTable: if a path repeats or its length is 0.
    """
    if len(set(paths)) != len(paths) or any(not path for path in paths):
        raise BadTable("mediator paths must be unique and non-empty, one per mediator")
    nodes: dict[tuple[str, ...], list[int]] = {}
    for leaf, path in enumerate(paths):
        for depth in range(1, len(path) + 1):
            nodes.setdefault(path[:depth], []).append(leaf)
    rows: list[tuple[str, int, int, float, float]] = []
    adjusted: dict[tuple[str, ...], float] = {(): 0.0}
    for node in sorted(nodes, key=lambda n: (len(n), n)):
        leaves = nodes[node]
        top = rounded_down(observed[leaves].max())
        exceed = int((drawn[:, leaves].max(axis=1) >= top).sum())
        p = (1 + exceed) / (1 + len(drawn))
        adjusted[node] = max(adjusted[node[:-1]], min(1.0, p * len(paths) / len(leaves)))
        rows.append(("/".join(node), len(node), len(leaves), p, adjusted[node]))
    return pd.DataFrame(rows, columns=["node", "depth", "leaves", "p", "p_adjusted"])
