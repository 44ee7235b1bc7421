"""Which mediators are worth an exact effect, after an approximation; and how good that was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.errors import BadStudy

__all__ = ["COLUMNS", "preselect", "screening_quality"]

COLUMNS = ("contrast", "mediator", "approximate", "part")
"""Of the table of a screening; `part` is "chosen", "control" or "skipped"."""

MIN_CONTROLS = 20


def preselect(
    approximate: npt.NDArray[np.float64], fraction: float, seed: int
) -> npt.NDArray[np.str_]:
    """What becomes of every mediator: "chosen", "control" or "skipped".

    Chosen are those with the largest approximate effects, by absolute value and in any of the contrasts.
    Controls are drawn from the others, a quarter as many but 20 at least: without them nobody could tell
    what the approximation misses.

    Args:
        approximate: Mean approximate effects [contrasts, mediators]; NaN counts as 0.
        fraction: Share that is chosen, above 0 and below 1.
        seed: Of the draw.

    Raises:
        BadStudy: if the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise BadStudy("screen", fraction, "a share above 0 and below 1")
    size = np.abs(np.nan_to_num(approximate)).max(0)
    count = max(1, round(fraction * len(size)))
    order = np.argsort(-size, kind="stable")
    part = np.full(len(size), "skipped")
    part[order[:count]] = "chosen"
    others = order[count:]
    drawn = min(len(others), max(MIN_CONTROLS, count // 4))
    part[np.random.default_rng(seed).permutation(others)[:drawn]] = "control"
    return part


def screening_quality(table: pd.DataFrame, exact: pd.Series[float]) -> pd.DataFrame:
    """How well approximate effects follow exact ones, where both are known.

    Args:
        table: Columns of `COLUMNS`, of one contrast.
        exact: Indirect effect of the mediators that were run, on the scale of the approximation.

    Returns:
        One row: how many mediators were chosen, run as controls and skipped; Pearson and Spearman
        correlation over all that were run and over controls alone; the smallest absolute exact effect of
        the chosen ones, and the largest of the controls, whose mediator is `largest_missed`.
    """
    known = table.assign(exact=table["mediator"].map(exact).astype(float)).dropna(subset=["exact"])
    control = known[known["part"] == "control"]
    chosen = known[known["part"] == "chosen"]
    missed = control["exact"].abs()
    counts = table["part"].value_counts()
    row: dict[str, object] = {name: int(counts.get(name, 0)) for name in ("chosen", "control")}
    row |= {"skipped": int(counts.get("skipped", 0))}
    for ending, part in (("", known), ("_controls", control)):
        for method in ("pearson", "spearman"):
            row[method + ending] = _correlation(part, method)
    row["smallest_chosen"] = float(chosen["exact"].abs().min()) if len(chosen) else np.nan
    row["largest_control"] = float(missed.max()) if len(control) else np.nan
    largest = int(missed.to_numpy().argmax()) if len(control) else 0
    row["largest_missed"] = control["mediator"].iloc[largest] if len(control) else ""
    return pd.DataFrame([row])


def _correlation(part: pd.DataFrame, method: str) -> float:
    constant = part["approximate"].nunique() < 2 or part["exact"].nunique() < 2
    if len(part) < 3 or constant:
        return np.nan
    one, other = part["approximate"], part["exact"]
    if method == "spearman":
        one, other = one.rank(), other.rank()
    return float(np.corrcoef(one, other)[0, 1])
