"""Which photos carry an effect: their exact parts in a change with signs fixed from other photos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, Window, group_pairs
from vlbias.errors import BadTable, MissingArms

__all__ = ["influence"]


def influence(
    panel: Panel,
    arms: Mapping[str, npt.ArrayLike],
    combination: Combination,
    *,
    signs: npt.NDArray[np.float64],
    objects: npt.NDArray[np.intp],
    thresholds: Thresholds | None = None,
    measure: Measure = "fpr",
) -> pd.DataFrame:
    """One row per cluster: its part in an effect on B_lin whose signs other images fixed.

    With fixed signs the functional is linear in the images, so that the parts are exact and not an
    approximation: leaving out an image of n in its group changes the effect by about minus its value.

    Args:
        panel: Images, groups, presence.
        arms: Name to [S, K] scores; rows without all of them count in none.
        combination: The effect, for example `Combination("TE", {"11": 1, "00": -1})`.
        signs: [P, K'] from `support.held_out_signs`, on images that are not in the panel.
        objects: [K'] columns the signs are for.
        thresholds: [K]; not needed for "score".
        measure: "fpr", "tpr" or "score".

    Returns:
        Columns cluster and value, largest absolute value first. Values sum to 0 (within each group
        where no cluster has images of two), and the sum of their squares is the squared standard
        error of the effect.

    Raises:
        MissingArms: if the combination names an arm that is not given.
        BadTable: if shapes disagree.
    """
    lacking = sorted(set(combination.terms) - set(arms))
    if lacking:
        raise MissingArms(f"arms {lacking} are not given; got {sorted(arms)}")
    scores = {name: panel.check_scores(name, arms[name]) for name in combination.terms}
    pairs = group_pairs(len(panel.groups))
    if signs.shape != (len(pairs), len(objects)):
        raise BadTable(
            f"signs have shape {signs.shape}, expected {(len(pairs), len(objects))}: one row per pair "
            "of groups, one column per object"
        )
    valid = np.all([~np.isnan(one) for one in scores.values()], axis=0)
    window = Window.of(panel, measure, valid, objects)
    gradient = _by_group(signs, pairs, len(panel.groups))
    value: Floats = np.zeros(panel.layout.n_clusters)
    for name, coefficient in combination.terms.items():
        value = value + coefficient * window.rates(scores[name], thresholds).influence(gradient)
    table = pd.DataFrame({"cluster": np.unique(panel.cluster), "value": value})
    order = table["value"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _by_group(
    signs: npt.NDArray[np.float64], pairs: list[tuple[int, int]], groups: int
) -> npt.NDArray[np.float64]:
    """[k, K'] what each group's rate counts, from signs per pair of groups."""
    found = np.zeros((groups, signs.shape[1]))
    for sign, (first, second) in zip(signs, pairs, strict=True):
        found[first] += sign / len(pairs)
        found[second] -= sign / len(pairs)
    return found
