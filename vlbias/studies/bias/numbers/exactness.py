"""What must hold exactly in a run and its table of effects, and what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vlbias.analysis.panel import Floats
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["exactness"]


def exactness(job: PresenceScores, effects: pd.DataFrame) -> pd.DataFrame:
    """One row per check: the largest deviation over all rows, and what is allowed.

    Args:
        job: The run.
        effects: Its table of effects, as the page shows it.
    """
    cut, same = 0.0, 0.0
    for contrast in job.contrasts:
        y00, y11 = (job.run.slab(contrast, "", arm).astype(np.float64) for arm in ("00", "11"))
        base, _, other = contrast.partition("->")
        for name in job.run.mediators(contrast):
            is_cut = job.run.manifest["mediators"][name]["cut"] and _is_sole(job, contrast, name)
            if base != other and not is_cut:
                continue  # nothing is said of it, and a large table is not read for nothing
            y01, y10 = (job.run.slab(contrast, name, arm) for arm in ("01", "10"))
            if base == other:
                same = _worst(same, y01 - y00, y10 - y00)
            if is_cut:
                cut = _worst(cut, y01 - y11, y10 - y00)
    return pd.DataFrame(
        [
            ("TE of a contrast = NDE + NIE + INT of each mediator, largest deviation",
             _remainder(effects), 1e-9),
            ("a contrast of a world with itself, largest effect", same, 0.0),
            ("a cut tower equals its changed input, largest deviation", cut, 0.0),
        ],
        columns=["check", "found", "allowed"],
    ).assign(holds=lambda frame: frame["found"] <= frame["allowed"])  # fmt: skip


def _remainder(effects: pd.DataFrame) -> float:
    """Between the total effect of the contrast and the parts of each mediator on the same photos."""
    keys = ["contrast", "functional", "n"]
    total = effects[(effects["mediator"] == "") & (effects["effect"] == "TE")]
    parts = effects[(effects["mediator"] != "") & effects["effect"].isin(["NDE", "NIE", "INT"])]
    sums = parts.groupby([*keys, "mediator"], sort=False)["estimate"].sum().reset_index()
    both = sums.merge(total[[*keys, "estimate"]], on=keys, suffixes=("_parts", ""))
    return float((both["estimate_parts"] - both["estimate"]).abs().max()) if len(both) else 0.0


def _is_sole(job: PresenceScores, contrast: str, mediator: str) -> bool:
    """Whether the mediator's encoder is the only one that the contrast alters."""
    alters = job.run.manifest["contrasts"][contrast]["alters"]
    return len(alters) == 1 and mediator.split("_")[0] == alters[0]


def _worst(before: float, *arrays: Floats) -> float:
    found = [float(np.nanmax(np.abs(array))) for array in arrays if not np.isnan(array).all()]
    return max(before, *found) if found else before
