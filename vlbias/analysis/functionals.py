"""From gaps per object to one number: plug-in, cross-fit, and linear with signs from the null arm.

All of them take gaps [..., P, K] (P pairs of groups, K objects), average over pairs and sum over
objects. With two groups P = 1 and nothing is averaged.

The cross-fit sum takes the sign of a gap from one half of the images and its size from the other.
For a gap x (in standard errors) that is normal, the halves have gaps x + e and x - e with e
standard normal, and the mean over all halvings is

    E[sign(x + e) (x - e)] = x (2 Phi(x) - 1) - 2 phi(x),

which is what `crossfit` evaluates: no halving is drawn, no Monte-Carlo error is left. Its
expectation is d (2 Phi(d / (s sqrt 2)) - 1) <= |d|, the gap times how sure its sign is in half
of the images: 0 where there is no gap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtr

from vlbias.analysis.panel import Floats

__all__ = [
    "certainty",
    "crossfit",
    "crossfit_target",
    "density",
    "plugin",
    "shrinkage",
    "shrinkage_in_square",
    "standardised",
]

_ROOT_TAU = float(np.sqrt(2 * np.pi))
_FEW = 10
_STEPS = 60
_TINY = 1e-12


def density(x: Floats) -> Floats:
    """Standard normal density, in the precision of `x`."""
    return np.asarray(np.exp(x * x * x.dtype.type(-0.5)) / x.dtype.type(_ROOT_TAU))


def standardised(gap: Floats, spread: Floats) -> Floats:
    """Gaps in standard errors: 0 for no gap, infinite for a gap without error."""
    none = ~np.asarray(spread > 0)
    x = np.asarray(gap / np.where(none, 1, spread).astype(gap.dtype))
    if none.any():
        np.copyto(x, np.copysign(x.dtype.type(np.inf), x), where=none & (x != 0))
    return x


def certainty(gap: Floats, spread: Floats) -> Floats:
    """In -1..1, how sure the sign of a gap is: 2 Phi(gap / spread) - 1; ±1 for a gap without error."""
    return np.asarray(2 * ndtr(standardised(gap, spread)) - 1)


def plugin(gap: Floats) -> npt.NDArray[Any]:
    """[...] sum of absolute gaps; too large by about 0.8 standard errors for every object at 0."""
    return np.asarray(np.abs(gap).mean(axis=-2).sum(axis=-1))


def crossfit(gap: Floats, spread: Floats) -> npt.NDArray[Any]:
    """[...] sum of gaps times cross-fitted signs, over all halvings at once; see the module."""
    x = standardised(gap, spread)
    value = gap * (2 * ndtr(x) - 1) - 2 * spread * density(x)
    return np.asarray(value.mean(axis=-2).sum(axis=-1))


def crossfit_target(gap: Floats, spread: Floats, arm_gap: Floats | None = None) -> float:
    """What the cross-fit estimates when gaps and standard errors are the true ones."""
    weight = certainty(gap, spread * np.sqrt(2.0))
    target = (gap if arm_gap is None else arm_gap) * weight
    return float(target.mean(axis=-2).sum(axis=-1))


def shrinkage(gap: Floats, spread: Floats) -> npt.NDArray[np.float64]:
    """Factors in 0..1 that take the noise out of the gaps' size, in the shape of `gap`.

    Observed gaps are more dispersed than the true ones. Draws around observed gaps would overstate
    the sampling error of `crossfit` by up to 40 %; draws around shrunken gaps do not. The factor is
    that of the posterior mean in the two-groups model (Efron 2008): gaps in standard errors are
    N(0, 1) for objects without a gap and N(0, 1 + v) for the others, share and v by maximum
    likelihood. One factor for all objects (James-Stein) would leave the noise of objects without a
    gap where others have large ones. Fewer than 10 gaps cannot tell noise from size and are not
    shrunk.
    """
    return _factors(gap, spread, lambda z2, found, kept: found * kept)


def shrinkage_in_square(gap: Floats, spread: Floats) -> npt.NDArray[np.float64]:
    """Factors that give gaps their expected square, in the model of `shrinkage`.

    Posterior means are less dispersed than the true gaps. What is multiplied by a sign that is
    drawn at random adds its square to the variance, and posterior means would add too little.
    """

    def root(z2: npt.NDArray[Any], found: npt.NDArray[Any], kept: float) -> npt.NDArray[Any]:
        return np.asarray(np.sqrt(found * (kept**2 + kept / np.maximum(z2, _TINY))))

    return _factors(gap, spread, root)


def _factors(
    gap: Floats,
    spread: Floats,
    factor: Callable[[npt.NDArray[Any], npt.NDArray[Any], float], npt.NDArray[Any]],
) -> npt.NDArray[np.float64]:
    """`factor` of squared gaps in standard errors, of P(a gap is there), and of what is kept of it."""
    there = np.asarray(spread > 0)
    factors = np.ones(gap.shape)
    z2 = np.asarray(standardised(gap, spread)[there], dtype=np.float64) ** 2
    if len(z2) < _FEW:
        return factors
    share, extra, found = 0.5, max(2 * (z2.mean() - 1), 1e-3), np.ones(len(z2))
    for _ in range(_STEPS):
        ratio = 0.5 * (z2 * extra / (1 + extra) - np.log1p(extra))
        found = expit(ratio + logit(share))  # that an object is of those with a gap
        share = float(np.clip(found.mean(), 1e-6, 1 - 1e-6))
        extra = max(float((found * z2).sum() / found.sum()) - 1, 1e-6)
    factors[there] = factor(z2, found, extra / (1 + extra))
    return factors
