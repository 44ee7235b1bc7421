"""The log-odds of one contrast and target, and the effects that they give."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.corrections import benjamini_hochberg
from vlbias.analysis.odds import Filter, Mask, Odds, Values, aligned_filter, odds_effects
from vlbias.store.run_folder import Run
from vlbias.studies.arms.screened_units import skipped_units

__all__ = ["OUTCOME", "ContrastOdds"]

OUTCOME = "log-odds"
_MEDIANS_UP_TO = 300
"""Mediators of a run whose medians are resampled too."""


class ContrastOdds:
    """The log-odds of one contrast and target.

    Args:
        run: The run.
        name: Of the contrast, "base->other".
        target: The candidate whose odds are taken.
        draws: Resampling draws.
        seed: Of the draws.

    Attributes:
        odds: The arms that do not depend on a mediator.
        mediators: Name, y01 and y10 of each mediator, in the order they were run.
        filter: Which samples the filter by total effect keeps; None if no sample is aligned.
    """

    def __init__(self, run: Run, name: str, target: str, draws: int, seed: int) -> None:
        self.run, self.name, self._column = run, name, run.targets.index(target)
        cluster = run.samples["cluster"].to_numpy(str)
        self.odds = Odds(self._arm("00"), self._arm("11"), cluster, draws, seed)
        self.mediators = [
            (mediator, self._arm("01", mediator), self._arm("10", mediator))
            for mediator in run.mediators(name, OUTCOME)
        ]
        change = self.odds.y11 - self.odds.y00
        self.filter: Filter | None = aligned_filter(change) if (change > 0).any() else None

    def _arm(self, arm: str, mediator: str = "") -> Values:
        slab = self.run.slab(self.name, mediator, arm, OUTCOME)
        return slab[:, self._column].astype(np.float64)

    def totals(self) -> pd.DataFrame:
        """Total effects over all samples, the filtered ones, and each group where there are several."""
        sets = self._sample_sets()
        group = self.run.samples["group"].to_numpy(str)
        if len(set(group)) > 1:
            sets |= {name: group == name for name in sorted(set(group))}
        frames = [
            odds_effects(self.odds.take(kept)).assign(samples=name) for name, kept in sets.items()
        ]
        return pd.concat(frames, ignore_index=True)

    def effects(self) -> pd.DataFrame:
        """Effects of every mediator, over all samples and over the filtered ones."""
        frames = [self._effects(name, kept) for name, kept in self._sample_sets().items()]
        return pd.concat(frames, ignore_index=True)

    def exact(self) -> pd.Series[float]:
        """Mediator to its mean indirect effect on the log scale; NaN where no sample is aligned."""
        found = {
            name: float(np.nanmean(y01 - self.odds.y00)) if not np.isnan(y01).all() else np.nan
            for name, y01, _ in self.mediators
        }
        return pd.Series(found, dtype=float)

    def filters(self) -> pd.DataFrame:
        """One row: samples that were loaded, misaligned, reworded, aligned, and kept by the filter."""
        row = {"loaded": len(self.odds.y00), "aligned": 0, "threshold": np.nan, "kept": 0}
        lost = [self._lost(y01) for _, y01, _ in self.mediators]
        row["misaligned"] = int(np.any(lost, axis=0).sum()) if lost else 0
        if "wordings" in self.run.manifest:
            row["reworded"] = self.run.manifest["wordings"]["reworded"]
        if self.filter is not None:
            row |= {
                "aligned": self.filter.aligned,
                "threshold": self.filter.threshold,
                "kept": int(self.filter.kept.sum()),
            }
        return pd.DataFrame([row])

    def _lost(self, y01: Values) -> Mask:
        """Samples that could take no value of the other world; not those of rounds that a unit was not in."""
        lost = np.isnan(y01) & ~np.isnan(self.odds.y00)
        if self.run.manifest["study"].get("racing") is None:
            return lost
        round_of = self.run.samples["round"].to_numpy().astype(int)
        return np.asarray(lost & (round_of <= round_of[~np.isnan(y01)].max(initial=0)))

    def _sample_sets(self) -> dict[str, Mask]:
        """Name to samples: all, and the filtered ones if any are."""
        sets: dict[str, Mask] = {"all": np.ones(len(self.odds.y00), bool)}
        if self.filter is not None and self.filter.kept.any():
            sets["filtered"] = self.filter.kept
        return sets

    def _effects(self, name: str, kept: Mask) -> pd.DataFrame:
        inside = [(mediator, y01[kept], y10[kept]) for mediator, y01, y10 in self.mediators]
        medians = len(self.mediators) <= _MEDIANS_UP_TO
        found = odds_effects(self.odds.take(kept), inside, medians=medians)
        found["p_adjusted"] = np.nan
        for _, rows in found[found["mediator"] != ""].groupby(["effect", "summary"], sort=False):
            known = rows["p"].notna()
            adjusted = benjamini_hochberg(
                rows.loc[known, "p"].to_numpy(), skipped=skipped_units(self.run)
            )
            found.loc[rows.index[known], "p_adjusted"] = adjusted
        return found.assign(samples=name)
