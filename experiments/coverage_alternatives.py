"""Other constructions of intervals for B, which are not offered: how often they hold."""

from __future__ import annotations

import numpy as np
from coverage_scenarios import DRAWS, ZERO, record

from vlbias.analysis.inference import cluster_weights, multipliers
from vlbias.analysis.rates import measure_rates, noise


def one_direction(panel, y, used, combos, truth, rng) -> list[dict]:
    """The alternative: signs from one random half, a plain paired interval in the other."""
    half = rng.permutation(len(panel))
    a, b = np.sort(half[::2]), np.sort(half[1::2])
    signs = np.sign(measure_rates(panel.take(a), y["00"][a], "fpr", ZERO, objects=used).gap)
    rates = {
        k: measure_rates(panel.take(b), y[k][b], "fpr", ZERO, objects=used) for k in ("00", "11")
    }
    rows: list[dict] = []
    for name, terms in combos.items():
        gradient = np.stack([signs[0], -signs[0]])
        value = sum(c * float((signs * rates[k].gap).sum()) for k, c in terms.items())
        part = sum(c * rates[k].influence(gradient) for k, c in terms.items())
        reach = 1.96 * float(np.sqrt((part**2).sum()))
        goal = sum(c * float((signs * truth.gap(k, used)).sum()) for k, c in terms.items())
        record(rows, f"one-direction split: {name}", value - reach, value + reach, goal)
    return rows


def alternatives(panel, y, used, truth, rng) -> list[dict]:
    """Other constructions for B: L1 ball, simultaneous set, and the naive percentile bootstrap."""
    rows: list[dict] = []
    rates = measure_rates(panel, y["00"], "fpr", ZERO, objects=used)
    error = np.abs(noise([rates], multipliers(panel.layout, DRAWS, rng))[0][:, 0])
    gap, spread = np.abs(rates.gap[0]), rates.spread[0]
    ball = float(np.quantile(error.sum(axis=1), 0.95))
    total, goal = float(gap.sum()), truth.value("00", "B_plugin", used)
    record(rows, "L1 ball: B", max(0.0, total - ball), total + ball, goal)
    reach = float(np.quantile((error / spread).max(axis=1), 0.95)) * spread
    lower = float(np.maximum(gap - reach, 0).sum())
    record(rows, "simultaneous set: B", lower, float((gap + reach).sum()), goal)
    weights = cluster_weights(panel.layout.n_clusters, DRAWS, rng)
    order = panel.layout.order
    use = (~panel.present)[order][:, used].astype(np.float32)
    flip = weights[:, panel.layout.cluster].astype(np.float32)
    sums = {}
    for arm in ("00", "11"):
        hit = (y[arm][order][:, used] >= 0) * use
        parts = [
            flip[:, s] @ hit[s] / np.maximum(flip[:, s] @ use[s], 1) for s in rates.layout.spans
        ]
        sums[arm] = np.abs(parts[0] - parts[1]).sum(axis=1)
    lo, hi = np.quantile(sums["00"], [0.025, 0.975])
    record(rows, "NAIVE percentile bootstrap: B", lo, hi, goal)
    lo, hi = np.quantile(sums["11"] - sums["00"], [0.025, 0.975])
    change = truth.combination({"11": 1, "00": -1}, "B_plugin", used)
    record(rows, "NAIVE paired percentile bootstrap: change of B", lo, hi, change, reduced=hi < 0)
    return rows
