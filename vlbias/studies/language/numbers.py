"""The part of a page about a language model: effects on odds, side by side and never summed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from vlbias.analysis.corrections import benjamini_hochberg
from vlbias.analysis.odds import (
    Filter,
    Odds,
    aligned_filter,
    decomposition,
    identity_error,
    odds_effects,
    synergy,
)
from vlbias.analysis.preselection import screening_quality
from vlbias.errors import BadTable
from vlbias.store.run_folder import Run

__all__ = ["OUTCOME", "LanguageTables", "language_numbers"]

OUTCOME = "log-odds"
_MEDIANS_UP_TO = 300


@dataclass(frozen=True)
class LanguageTables:
    """Everything a page shows of a language model's run, as tidy frames.

    Args:
        totals: Total effects per contrast, set of samples and summary.
        effects: Effects of every mediator, over all samples and over the filtered ones.
        filters: The filter of every contrast: aligned, threshold, kept.
        synergy: Joint indirect effects against the sums of their parts' effects.
        decomposition: Direct and indirect effects of joint mediators, and how far they add up.
        correlation: Of the bias score of words with their effects, where samples have a score.
        checks: What must hold exactly, and what was found.
        screening: What was chosen by an approximation, and how good that was.
        rows: How many rows of the table have which status.
    """

    totals: pd.DataFrame
    effects: pd.DataFrame
    filters: pd.DataFrame
    synergy: pd.DataFrame
    decomposition: pd.DataFrame
    correlation: pd.DataFrame
    checks: pd.DataFrame
    screening: pd.DataFrame
    rows: pd.DataFrame


def language_numbers(
    run: Run,
    *,
    draws: int = 2000,
    seed: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> LanguageTables:
    """All tables of a run with log-odds.

    Raises:
        BadTable: if cells are missing.
    """
    if run.missing:
        raise BadTable(
            f"{run.folder}: {len(run.missing)} of {len(run.manifest['cells'])} cells are missing; "
            f"run `vlbias resume {run.folder}` first"
        )
    parts: dict[str, list[pd.DataFrame]] = {
        field.name: [] for field in fields(LanguageTables) if field.name != "rows"
    }
    for contrast in run.manifest["contrasts"]:
        note(f"effects of {contrast}")
        for target in _targets(run):
            job = _Contrast(run, contrast, target, draws, seed)
            for name, frame in job.tables().items():
                parts[name].append(frame.assign(contrast=contrast, target=target))
    joined = {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}
    return LanguageTables(**joined, rows=run.statuses)


def _targets(run: Run) -> list[str]:
    """The targets of the log-odds: those that have any value."""
    first = next(iter(run.manifest["contrasts"]))
    known = ~np.asarray(np.isnan(run.slab(first, "", "00", OUTCOME)).all(axis=0))
    return [target for target, there in zip(run.targets, known, strict=True) if there]


class _Contrast:
    def __init__(self, run: Run, contrast: str, target: str, draws: int, seed: int) -> None:
        self.run, self.contrast, self.column = run, contrast, run.targets.index(target)
        self.odds = Odds(
            self._arm("00"), self._arm("11"), run.samples["cluster"].to_numpy(str), draws, seed
        )
        self.mediators = [
            (name, self._arm("01", name), self._arm("10", name))
            for name in run.mediators(contrast, OUTCOME)
        ]
        self.medians = len(self.mediators) <= _MEDIANS_UP_TO
        change = self.odds.y11 - self.odds.y00
        self.filter: Filter | None = aligned_filter(change) if (change > 0).any() else None

    def _arm(self, arm: str, mediator: str = "") -> Any:
        slab = self.run.slab(self.contrast, mediator, arm, OUTCOME)
        return slab[:, self.column].astype(np.float64)

    def tables(self) -> dict[str, pd.DataFrame]:
        effects = pd.concat(
            [self._effects(name, kept) for name, kept in self._sets(whole=True).items()],
            ignore_index=True,
        )
        everyone = effects[effects["samples"] == "all"]
        parts = _parts(self.run)
        return {
            "totals": self._totals(),
            "effects": effects,
            "filters": self._filters(),
            "synergy": _synergy(everyone, parts),
            "decomposition": self._decomposition(parts),
            "correlation": self._correlation(),
            "checks": self._checks(),
            "screening": self._screening(),
        }

    def _decomposition(self, parts: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
        arms = {name: (y01, y10) for name, y01, y10 in self.mediators}
        joint = [name for name in arms if name.startswith("all ") or "+" in name]
        members = {name: _finest(parts, name) for name in joint}
        return decomposition(self.odds, arms, members) if joint else pd.DataFrame()

    def _screening(self) -> pd.DataFrame:
        if "screen" not in self.run.manifest:
            return pd.DataFrame()
        table = pd.read_parquet(self.run.folder / self.run.manifest["screen"]["table"])
        exact = {
            name: float(np.nanmean(y01 - self.odds.y00)) if not np.isnan(y01).all() else np.nan
            for name, y01, _ in self.mediators
        }
        mine = table[table["contrast"] == self.contrast]
        return screening_quality(mine, pd.Series(exact, dtype=float))

    def _sets(self, *, whole: bool) -> dict[str, Any]:
        """Sets of samples: all, the filtered ones, and each group where there are several."""
        sets = {"all": np.ones(len(self.odds.y00), bool)}
        if self.filter is not None and self.filter.kept.any():
            sets["filtered"] = self.filter.kept
        group = self.run.samples["group"].to_numpy(str)
        if not whole and len(set(group)) > 1:
            sets |= {name: group == name for name in sorted(set(group))}
        return sets

    def _totals(self) -> pd.DataFrame:
        frames = [
            odds_effects(self.odds.take(kept)).assign(samples=name)
            for name, kept in self._sets(whole=False).items()
        ]
        return pd.concat(frames, ignore_index=True)

    def _effects(self, name: str, kept: Any) -> pd.DataFrame:
        inside = [(mediator, y01[kept], y10[kept]) for mediator, y01, y10 in self.mediators]
        found = odds_effects(self.odds.take(kept), inside, medians=self.medians)
        found["p_adjusted"] = np.nan
        for _, rows in found[found["mediator"] != ""].groupby(["effect", "summary"], sort=False):
            known = rows["p"].notna()
            adjusted = benjamini_hochberg(rows.loc[known, "p"].to_numpy())
            found.loc[rows.index[known], "p_adjusted"] = adjusted
        return found.assign(samples=name)

    def _filters(self) -> pd.DataFrame:
        found = self.filter
        row = {"loaded": len(self.odds.y00), "aligned": 0, "threshold": np.nan, "kept": 0}
        lost = [np.isnan(y01) & ~np.isnan(self.odds.y00) for _, y01, _ in self.mediators]
        row["misaligned"] = int(np.any(lost, axis=0).sum()) if lost else 0
        if "wordings" in self.run.manifest:
            row["reworded"] = self.run.manifest["wordings"]["reworded"]
        if found is not None:
            row |= {
                "aligned": found.aligned,
                "threshold": found.threshold,
                "kept": int(found.kept.sum()),
            }
        return pd.DataFrame([row])

    def _correlation(self) -> pd.DataFrame:
        """Pearson and Spearman of the words' scores with their mean log-odds and mean log effect."""
        columns = ["quantity", "pearson", "spearman", "words"]
        samples = self.run.samples
        if "score" not in samples or samples["score"].isna().any():
            return pd.DataFrame(columns=columns)
        score = samples["score"].astype(float)
        # towards "he", whichever candidate comes first
        towards = np.where(samples["group"] == "feminine", 1.0, -1.0)
        quantities = {
            "log-odds of he to she in the null world": towards * self.odds.y00,
            "log total effect": self.odds.y11 - self.odds.y00,
        }
        rows = []
        for name, value in quantities.items():
            words = (
                pd.DataFrame({"w": samples["cluster"], "s": score, "v": value}).groupby("w").mean()
            )
            if len(words) > 2 and words["s"].nunique() > 1 and words["v"].nunique() > 1:
                pearson, spearman = (
                    float(test(words["s"], words["v"]).statistic) for test in (pearsonr, spearmanr)
                )
                rows.append(dict(zip(columns, (name, pearson, spearman, len(words)), strict=True)))
        return pd.DataFrame(rows, columns=columns)

    def _checks(self) -> pd.DataFrame:
        """What must hold by construction: nothing in a world against itself, all through a cut."""
        base, _, other = self.contrast.partition("->")
        y00, y11 = self.odds.y00, self.odds.y11
        arms = [y11, *(arm for _, y01, y10 in self.mediators for arm in (y01, y10))]
        worst = max(float(np.nanmax(np.abs(arm - y00), initial=0.0)) for arm in arms)
        cuts = [m for m, about in self.run.manifest["mediators"].items() if about["cut"]]
        missed = [
            name
            for name, y01, _ in self.mediators
            if name in cuts and not np.array_equal(y01, y11, equal_nan=True)
        ]
        zero = {
            "check": "every effect is exactly 0 in a world against itself",
            "found": f"largest {worst:.1e}",
            "holds": worst == 0,
        }
        cut = {
            "check": "NIE = TE for mediators that cut the model",
            "found": f"{len(cuts)} such mediators, not so for {missed or 'none'}",
            "holds": not missed,
        }
        error = identity_error(
            self.odds, {name: (there, back) for name, there, back in self.mediators}
        )
        return pd.DataFrame(
            [
                *([zero] if base == other else []),
                {
                    "check": "1 + TE = (1 + NDE)(1 + NIE*) for every sample and mediator",
                    "found": f"largest relative error {error:.1e}",
                    "holds": error < 1e-9,
                },
                *([cut] if cuts else []),
            ]
        )


def _finest(parts: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """The smallest parts of a mediator that were run: heads instead of layers."""
    return tuple(
        small for part in parts.get(name, ()) for small in (_finest(parts, part) or (part,))
    )


def _synergy(effects: pd.DataFrame, parts: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame()
    finest = {name: _finest(parts, name) for name in parts}
    finer = {name: small for name, small in finest.items() if small != parts[name]}
    tables = [synergy(effects, parts), *([synergy(effects, finer)] if finer else [])]
    return pd.concat(tables, ignore_index=True)


def _parts(run: Run) -> dict[str, tuple[str, ...]]:
    """Mediators of several sites or units whose every part was run on its own, to those parts."""
    known = run.manifest["mediators"]
    single = {about["sites"][0]: name for name, about in known.items() if len(about["sites"]) == 1}
    found = {}
    for name, about in known.items():
        members = [single[site] for site in about["sites"] if site in single]
        if len(members) == len(about["sites"]) > 1:
            found[name] = tuple(members)
            continue
        head, _, place = about["sites"][0].partition("@")
        units = [
            other
            for site, other in single.items()
            if site.startswith(f"{head}[") and site.partition("@")[2] == place
        ]
        if len(about["sites"]) == 1 and len(units) > 1:
            found[name] = tuple(units)
    return found
