"""What must hold exactly in a contrast of texts, and what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.odds import identity_error
from vlbias.studies.language.numbers.contrast_odds import ContrastOdds

__all__ = ["checks"]


def checks(contrast: ContrastOdds) -> pd.DataFrame:
    """One row a check, with columns check, found and holds.

    Args:
        contrast: Its log-odds.
    """
    base, _, other = contrast.name.partition("->")
    cuts = [name for name, about in contrast.run.manifest["mediators"].items() if about["cut"]]
    rows = [
        *([_no_effect(contrast)] if base == other else []),
        _identity(contrast),
        *([_cut(contrast, cuts)] if cuts else []),
    ]
    return pd.DataFrame(rows)


def _no_effect(contrast: ContrastOdds) -> dict[str, object]:
    y00, y11 = contrast.odds.y00, contrast.odds.y11
    arms = [y11, *(arm for _, y01, y10 in contrast.mediators for arm in (y01, y10))]
    worst = max(float(np.nanmax(np.abs(arm - y00), initial=0.0)) for arm in arms)
    return {
        "check": "every effect is exactly 0 in a world against itself",
        "found": f"largest {worst:.1e}",
        "holds": worst == 0,
    }


def _identity(contrast: ContrastOdds) -> dict[str, object]:
    error = identity_error(
        contrast.odds, {name: (y01, y10) for name, y01, y10 in contrast.mediators}
    )
    return {
        "check": "1 + TE = (1 + NDE)(1 + NIE*) for every sample and mediator",
        "found": f"largest relative error {error:.1e}",
        "holds": error < 1e-9,
    }


def _cut(contrast: ContrastOdds, cuts: list[str]) -> dict[str, object]:
    missed = [
        name
        for name, y01, _ in contrast.mediators
        if name in cuts and not np.array_equal(y01, contrast.odds.y11, equal_nan=True)
    ]
    return {
        "check": "NIE = TE for mediators that cut the model",
        "found": f"{len(cuts)} such mediators, not so for {missed or 'none'}",
        "holds": not missed,
    }
