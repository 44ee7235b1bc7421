"""Mediators of several sites or units, beside the parts that were run on their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vlbias.analysis.odds import decomposition, synergy
from vlbias.store.run_folder import Run
from vlbias.studies.language.numbers.contrast_odds import ContrastOdds

__all__ = ["Parts", "decompositions", "finest_parts", "parts_of", "synergies"]

Parts = Mapping[str, tuple[str, ...]]
"""Mediator to the mediators that it is made of."""


def parts_of(run: Run) -> Parts:
    """Mediators whose every part was run on its own, to those parts."""
    known = run.manifest["mediators"]
    single = {about["sites"][0]: name for name, about in known.items() if len(about["sites"]) == 1}
    found = {}
    for name, about in known.items():
        members = [single[site] for site in about["sites"] if site in single]
        if len(members) == len(about["sites"]) > 1:
            found[name] = tuple(members)
            continue
        units = _units_of(about, single)
        if len(about["sites"]) == 1 and len(units) > 1:
            found[name] = tuple(units)
    return found


def _units_of(about: Mapping[str, Any], single: Mapping[str, str]) -> list[str]:
    """Mediators of the units of a mediator's first site, at the same positions."""
    head, _, positions = about["sites"][0].partition("@")
    return [
        name
        for site, name in single.items()
        if site.startswith(f"{head}[") and site.partition("@")[2] == positions
    ]


def finest_parts(parts: Parts, name: str) -> tuple[str, ...]:
    """The smallest parts of a mediator that were run: heads instead of layers."""
    return tuple(
        small for part in parts.get(name, ()) for small in (finest_parts(parts, part) or (part,))
    )


def synergies(effects: pd.DataFrame, parts: Parts) -> pd.DataFrame:
    """Joint effects against the sums of their parts, and of their smallest parts where these differ.

    Args:
        effects: Effects of all mediators over all samples.
        parts: From `parts_of`.
    """
    if not parts:
        return pd.DataFrame()
    finest = {name: finest_parts(parts, name) for name in parts}
    finer = {name: small for name, small in finest.items() if small != parts[name]}
    tables = [synergy(effects, parts), *([synergy(effects, finer)] if finer else [])]
    return pd.concat(tables, ignore_index=True)


def decompositions(contrast: ContrastOdds, parts: Parts) -> pd.DataFrame:
    """Direct and indirect effects of joint mediators, and how far they add up.

    Args:
        contrast: Its log-odds.
        parts: From `parts_of`.
    """
    arms = {name: (y01, y10) for name, y01, y10 in contrast.mediators}
    joint = [name for name in arms if name.startswith("all ") or "+" in name]
    members = {name: finest_parts(parts, name) for name in joint}
    return decomposition(contrast.odds, arms, members) if joint else pd.DataFrame()
