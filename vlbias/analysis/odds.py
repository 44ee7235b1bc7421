"""Effects on odds: ratio, log and difference scale, and three ways to sum them up (Vig et al. 2020).

An arm is the log-odds of a candidate, one number a sample. On the ratio scale TE = y11 / y00 - 1; there the
effects do not add up but multiply: 1 + TE = (1 + NDE)(1 + NIE*), exactly and per sample, where NIE* is
taken from the other world, y11 / y10 - 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.inference import check_level, cluster_weights
from vlbias.analysis.log_ratios import LogRatios
from vlbias.errors import BadTable

__all__ = [
    "EFFECTS",
    "Filter",
    "Odds",
    "aligned_filter",
    "decomposition",
    "identity_error",
    "odds_effects",
    "synergy",
]

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

EFFECTS: Mapping[str, tuple[str, str]] = {
    "TE": ("11", "00"),
    "NDE": ("10", "00"),
    "NIE": ("01", "00"),
    "NIE*": ("11", "10"),
    "NDE*": ("11", "01"),
}
"""Effect to the arms that are divided; the starred ones are taken in the other world."""


@dataclass(frozen=True)
class Filter:
    """Which samples a filter by total effect keeps.

    It selects on the outcome, so that even a model without any bias shows an effect behind it: read
    filtered numbers beside unfiltered ones, and beside those of random weights.

    Args:
        kept: Samples that are kept, [N].
        aligned: How many have odds that move towards the stereotype.
        threshold: Smallest ratio of odds that is not kept.
    """

    kept: Mask
    aligned: int
    threshold: float


def aligned_filter(total: npt.ArrayLike, quantile: float = 0.25) -> Filter:
    """The filter of Vig et al.: samples above a quantile of those whose odds ratio exceeds 1.

    Args:
        total: Log of the odds ratio y11 / y00 of every sample, [N]; NaN is never kept.
        quantile: Share of the aligned samples that is dropped.

    Raises:
        BadTable: if no sample is aligned.
    """
    ratio = np.exp(np.asarray(total, np.float64))
    aligned = ratio[ratio > 1]
    if not len(aligned):
        raise BadTable("no sample has an odds ratio above 1; there is nothing to filter")
    threshold = float(np.quantile(aligned, quantile))
    return Filter(ratio > threshold, len(aligned), threshold)


@dataclass(frozen=True)
class Odds:
    """Log-odds of the samples of one contrast, and how they cluster.

    Args:
        y00: Of the null world, [N].
        y11: Of the other world, [N].
        cluster: What is resampled together, [N].
        draws: Resampling draws.
        seed: Of the draws; the same for every mediator, so that they can be compared.
    """

    y00: Values
    y11: Values
    cluster: npt.NDArray[np.str_]
    draws: int = 2000
    seed: int = 0

    def take(self, rows: Mask) -> Odds:
        """The same of some samples."""
        return Odds(self.y00[rows], self.y11[rows], self.cluster[rows], self.draws, self.seed)


def odds_effects(
    odds: Odds,
    mediators: Iterable[tuple[str, Values, Values]] = (),
    *,
    level: float = 0.95,
    medians: bool = True,
) -> pd.DataFrame:
    """TE, and NDE, NIE, NIE* and NDE* of every mediator, summed up over samples.

    Limits of "log" and "geometric" are Student's over clusters, of "median" percentiles of resampled
    clusters, of "mean" and "difference" bootstrap-t. No method covers the mean of very skewed ratios:
    where the logarithms spread by more than 1.2 there are no limits for it; read the median or the
    geometric mean. `experiments/coverage.py --kind others` shows the coverage of each.

    Args:
        odds: The arms that do not depend on a mediator.
        mediators: Name, y01 and y10 [N] of each; NaN where worlds are not aligned.
        level: Of the limits; all draws are shared.
        medians: Whether to give medians, whose resampling takes longest.

    Returns:
        Columns mediator ("" for the total effect), effect, summary, estimate, lo, hi, p, n, n_clusters,
        positive. Summaries: "mean", "median" and "geometric" of the ratio minus 1, "log" the mean log
        ratio, "difference" the mean difference of odds. p is of a test of 0 with the standard error of
        the limits, NaN where there are none; `positive` is the share of samples with a log ratio above 0.

    Raises:
        BadTable: if there is no sample.
    """
    names, code = np.unique(odds.cluster, return_inverse=True)
    if not len(names):
        raise BadTable("no sample is left; loosen the filter or the groups")
    weights = cluster_weights(len(names), odds.draws, np.random.default_rng(odds.seed))
    check_level(level)
    rows: list[dict[str, object]] = []

    def add(mediator: str, effect: str, arms: Mapping[str, Values]) -> None:
        after, before = (arms[arm] for arm in EFFECTS[effect])
        known = ~(np.isnan(after) | np.isnan(before))
        spread = LogRatios(after[known], before[known], code[known], weights, level)
        about = {
            "n": int(known.sum()),
            "n_clusters": len(np.unique(code[known])),
            "positive": float(np.mean(after[known] > before[known])) if known.any() else np.nan,
        }
        for summary, found in spread.summaries(medians).items():
            named = {"mediator": mediator, "effect": effect, "summary": summary}
            limits = {"estimate": found.estimate, "lo": found.lo, "hi": found.hi, "p": found.p}
            rows.append({**named, **limits, **about})

    add("", "TE", {"00": odds.y00, "11": odds.y11})
    for name, y01, y10 in mediators:
        for effect in ("NDE", "NIE", "NIE*", "NDE*"):
            add(name, effect, {"00": odds.y00, "11": odds.y11, "01": y01, "10": y10})
    return pd.DataFrame(rows)


def synergy(effects: pd.DataFrame, parts: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """The indirect effect of mediators together against the sum of what each has alone.

    The sum is no total: components back each other up and get in each other's way, and on the ratio scale
    effects do not add up at all. It is printed so that nobody takes it for one.

    Args:
        effects: From `odds_effects`.
        parts: Joint mediator to the names of its parts.

    Returns:
        Columns mediator, parts, joint, sum_of_parts, synergy (joint minus sum), over the mean ratio
        scale, and the same with "_log" on the log scale.
    """
    indirect = effects[effects["effect"] == "NIE"]
    single = {
        summary: indirect[indirect["summary"] == summary].set_index("mediator")["estimate"]
        for summary in ("mean", "log")
    }
    rows = []
    for name, members in parts.items():
        lacking = sorted({name, *members} - set(single["mean"].index))
        if lacking:
            raise BadTable(f"no indirect effect of {lacking[:5]}; run these mediators too")
        row: dict[str, object] = {"mediator": name, "parts": len(members)}
        for summary, ending in (("mean", ""), ("log", "_log")):
            joint = float(single[summary][name])
            total = float(single[summary][list(members)].sum())
            row |= {f"joint{ending}": joint, f"sum_of_parts{ending}": total}
            row[f"synergy{ending}"] = joint - total
        rows.append(row)
    return pd.DataFrame(rows)


def decomposition(
    odds: Odds,
    mediators: Mapping[str, tuple[Values, Values]],
    parts: Mapping[str, tuple[str, ...]],
) -> pd.DataFrame:
    """How far direct and indirect effects of joint mediators add up, which they need not.

    Args:
        odds: The arms that do not depend on a mediator.
        mediators: Name to y01 and y10 [N].
        parts: Joint mediators that are asked for, to the names of their parts, if any were run.

    Returns:
        Columns mediator, TE, NIE, NDE, NIE_plus_NDE, residual (TE - NIE - NDE), all means on the ratio
        scale over the samples that the mediator has; r_TE_both and r_TE_parts, correlations over samples of
        TE with NIE + NDE and with the sum of the parts' NIE (NaN without parts); n.
    """
    total = np.expm1(odds.y11 - odds.y00)
    rows = []
    for name, members in parts.items():
        y01, y10 = mediators[name]
        nie, nde = np.expm1(y01 - odds.y00), np.expm1(y10 - odds.y00)
        known = ~np.isnan(nie + nde + total)
        single = np.array([np.expm1(mediators[part][0] - odds.y00) for part in members])
        te, both = total[known], (nie + nde)[known]
        row: dict[str, object] = {"mediator": name}
        row |= {key: _mean_or_nan(v) for key, v in (("TE", te), ("NIE", nie[known]))}
        row |= {"NDE": _mean_or_nan(nde[known]), "NIE_plus_NDE": _mean_or_nan(both)}
        row |= {"residual": _mean_or_nan(te - both), "r_TE_both": _correlation(te, both)}
        row["r_TE_parts"] = _correlation(te, single[:, known].sum(0)) if len(members) else np.nan
        rows.append({**row, "n": int(known.sum())})
    return pd.DataFrame(rows)


def identity_error(odds: Odds, mediators: Mapping[str, tuple[Values, Values]]) -> float:
    """The largest relative error of 1 + TE = (1 + NDE)(1 + NIE*) over samples and mediators."""
    worst = 0.0
    total = np.exp(odds.y11 - odds.y00)
    for _, y10 in mediators.values():
        product = np.exp(y10 - odds.y00) * np.exp(odds.y11 - y10)
        worst = max(worst, float(np.nanmax(np.abs(product / total - 1), initial=0.0)))
    return worst


def _mean_or_nan(values: Values) -> float:
    return float(values.mean()) if len(values) else np.nan


def _correlation(one: Values, other: Values) -> float:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])
