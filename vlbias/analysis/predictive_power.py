"""Whether a test that has seen part of its data will still reject once it has seen all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from vlbias.analysis.stratified_means import Codes, Floats, StratifiedMean

__all__ = ["predictive_power"]

Mask = npt.NDArray[np.bool_]


def predictive_power(
    values: Floats,
    seen: Mask,
    stratum: Codes,
    found: StratifiedMean,
    bound: float,
    approximate: Floats | None = None,
) -> Floats:
    """[K] the probability that |Z| reaches a bound once all rows were seen, given those seen so far.

    Predictive power with a flat prior (Spiegelhalter et al. 1986), from the B-values of Lan & Wittes (1988).
    The rows to come are predicted by the mean of those seen, or by their regression on approximations that all
    rows have (as the difference estimator of surveys, Cochran 1977): then only what these miss is uncertain.

    Args:
        values: [N, K] of all rows that are planned; rows not seen are not looked at.
        seen: [N] which rows were.
        stratum: [N] codes from 0.
        found: The estimate on the rows seen.
        bound: On the scale of Z.
        approximate: [N, K].

    Returns:
        1 where there is no estimate yet.
    """
    mean, deviation = _predicted(values, seen, stratum, found, approximate)
    return np.where(np.isnan(found.estimate), 1.0, _beyond(mean, deviation, bound))


def _predicted(
    values: Floats, seen: Mask, stratum: Codes, found: StratifiedMean, approximate: Floats | None
) -> tuple[Floats, Floats]:
    """[K] mean and standard deviation of Z after all rows."""
    known = ~np.isnan(values) & seen[:, None]
    cheap = np.zeros_like(values) if approximate is None else np.nan_to_num(approximate)
    slope = _slope(values, cheap, known, stratum)
    total, error, final, apart = np.zeros((4, values.shape[1]))
    for code in range(int(stratum.max()) + 1):
        here = stratum == code
        n = np.maximum(known[here].sum(axis=0), 1)
        x, a, k = np.nan_to_num(values[here]), cheap[here], known[here]
        rest = np.where(k, x - slope * a, 0.0)
        level = rest.sum(axis=0) / n
        planned = n * here.sum() / max((here & seen).sum(), 1)
        coming = here & ~seen
        ahead = slope * (cheap[coming].mean(axis=0) if coming.any() else 0.0) + level
        total += (np.where(k, x, 0.0).sum(axis=0) + (planned - n) * ahead) / planned
        free = np.maximum(n - 1, 1)
        noise = np.where(k, (rest - level) ** 2, 0.0).sum(axis=0) / free
        mean = np.where(k, x, 0.0).sum(axis=0) / n
        spread = np.where(k, (x - mean) ** 2, 0.0).sum(axis=0) / free
        error += noise * (planned - n) / (planned * n)
        final += spread / planned
        apart += spread / n
    # rows of a cluster go together: what that adds to the error so far, it adds to what is to come
    together = found.se**2 / np.where(apart > 0, apart, 1.0)
    scale = np.sqrt(np.where(final > 0, final, np.inf) * np.where(together > 0, together, 1.0))
    return total / scale, np.sqrt(error / np.where(final > 0, final, np.inf))


def _slope(values: Floats, cheap: Floats, known: Mask, stratum: Codes) -> Floats:
    """[K] slope of values on approximations within strata; 0 where these do not vary."""
    above, below = np.zeros((2, values.shape[1]))
    for code in range(int(stratum.max()) + 1):
        k = known[stratum == code]
        x, a = np.nan_to_num(values[stratum == code]), cheap[stratum == code]
        n = np.maximum(k.sum(axis=0), 1)
        off = np.where(k, a - np.where(k, a, 0.0).sum(axis=0) / n, 0.0)
        above, below = above + (off * x).sum(axis=0), below + (off**2).sum(axis=0)
    return np.asarray(np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0))


def _beyond(mean: Floats, deviation: Floats, bound: float) -> Floats:
    """[K] the probability that a normal number has at least the size `bound`."""
    sure = deviation <= 0
    scale = np.where(sure, 1.0, deviation)
    power = ndtr((mean - bound) / scale) + ndtr((-bound - mean) / scale)
    return np.asarray(np.where(sure, np.abs(mean) >= bound, power))
