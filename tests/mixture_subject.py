"""A subject that answers some items from their meaning, the others from a cue: the truth in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd

CHOICES = 5


def mixture(
    meaning: float, agreement: float, flip: float, extra: float = 0.0, *, items: int, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Items as `item_means` gives them, and their answers' true effects.

    Args:
        meaning: Share of items answered from the meaning (alpha).
        agreement: Probability that the cue agrees with the answer, otherwise it is drawn (rho).
        flip: Probability that a surface edit changes the cue (kappa).
        extra: Further probability that a deep edit does (g).
        items: How many.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    answer = rng.integers(CHOICES, size=items)
    cue = np.where(rng.random(items) < agreement, answer, rng.integers(CHOICES, size=items))
    deep = rng.random(items) < meaning
    luck = rng.random(items)

    def other(values: np.ndarray) -> np.ndarray:
        return (values + 1 + rng.integers(CHOICES - 1, size=items)) % CHOICES

    moved = [luck < flip, luck < min(1.0, flip + extra)]
    kept_cue, deep_cue = (np.where(where, other(cue), cue) for where in moved)
    new = other(answer)
    first = np.where(deep, answer, cue)
    after_surface = np.where(deep, answer, kept_cue)
    after_deep = np.where(deep, new, deep_cue)
    frame = pd.DataFrame(
        {
            "cluster": np.arange(items),
            "correct": first == answer,
            "deep_changed": (after_deep != first).astype(float),
            "surface_changed": (after_surface != first).astype(float),
            "deep_lost": (after_deep != answer).astype(float),
            "surface_lost": (after_surface != answer).astype(float),
        }
    )
    sizes = pd.DataFrame({"deep": moved[1].astype(float), "surface": moved[0].astype(float)})
    return frame, sizes


def closed_form(
    meaning: float, agreement: float, flip: float, extra: float = 0.0
) -> dict[str, float]:
    """ADCE, AICE, the unconditioned contrast and the true effects, from the parameters."""
    right = agreement + (1 - agreement) / CHOICES
    share = meaning / (meaning + (1 - meaning) * right)
    more = min(1.0, flip + extra) - flip
    return {
        "ADCE": share + (1 - share) * more,
        # a cue that is right and is changed is no longer right
        "AICE": (1 - share) * flip,
        "unconditioned": meaning + (1 - meaning) * more,
        "DCE": meaning,
        "ICE": (1 - meaning) * flip,
    }
