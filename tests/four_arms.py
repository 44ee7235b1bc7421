"""Simulated scores of four arms with a planted mediated share, and the effects of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from one_condition import ZERO, world

from vlbias.analysis.effects import effects
from vlbias.analysis.simulated_scores import mediated_conditions

NUMBERS = ["estimate", "se", "lo", "hi", "relative"]


def rng():
    return np.random.default_rng(3)


def data(n: int = 1500, total: float = 0.6, share: float = 0.5, seed: int = 0, biased: float = 1.0):
    arms = mediated_conditions(total, share)
    return world(biased).draw(n, arms, np.random.default_rng(seed))


def run(panel, y, mediators=None, **more):
    pairs = [("m", y["01"], y["10"])] if mediators is None else mediators
    options = {"thresholds": ZERO, "draws": 400, "rng": rng()} | more
    return effects(panel, y["00"], y["11"], pairs, **options)


def pick(table: pd.DataFrame, effect: str, functional: str, mediator: str = "m") -> pd.Series:
    key = (table["effect"] == effect) & (table["functional"] == functional)
    return table[key & (table["mediator"] == mediator)].iloc[0]
