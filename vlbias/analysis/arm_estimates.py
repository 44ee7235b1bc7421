"""What one arm contributes to every effect: functionals of its gaps, and draws of their error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from vlbias.analysis.cluster_limits import degrees_of_freedom
from vlbias.analysis.functionals import (
    certainty,
    crossfit,
    density,
    plugin,
    shrinkage,
    shrinkage_in_square,
    standardised,
)
from vlbias.analysis.panel import Floats
from vlbias.analysis.rates import Rates

__all__ = ["ArmEstimate", "Combination", "NullEstimate", "fit_arm", "fit_null"]

Functional = Literal["plugin", "crossfit", "lin"]
_ROUNDING = 8 * float(np.finfo(np.float32).eps)
_LAST_BITS = 8 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class ArmEstimate:
    """Functionals of one arm and their draws around two centres, no gap and shrunken gaps.

    Args:
        rates: Rates of the arm.
        gap: [P, K].
        error: [D, P, K] draws of the sampling error of the gap.
        centre: [P, K] shrunken gaps, the second centre.
        value: Functional to estimate.
        draws: Functional to [2, D].
    """

    rates: Rates
    gap: npt.NDArray[np.float64]
    error: Floats
    centre: npt.NDArray[np.float64]
    value: Mapping[str, float]
    draws: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class NullEstimate:
    """The null arm, and the signs that `lin` takes from it or from held-out images.

    Args:
        arm: The null arm.
        contrast: [P, K] fixed weights from held-out images, or None to cross-fit.
        spread: [P, K] standard errors of the null gaps.
        sign: [P, K] certainty of the observed signs.
        tilt: [P, K] density at the observed gaps.
        sign_draws: [2, D, P, K] the same in the draws.
        tilt_draws: [2, D, P, K].
    """

    arm: ArmEstimate
    contrast: npt.NDArray[np.float64] | None
    spread: npt.NDArray[np.float64]
    sign: Floats = field(default_factory=lambda: np.zeros(0))
    tilt: Floats = field(default_factory=lambda: np.zeros(0))
    sign_draws: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    tilt_draws: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    @cached_property
    def df(self) -> float:
        """Degrees of freedom of the errors of sums over objects."""
        return degrees_of_freedom(self.arm.rates)


def _about(centre: npt.NDArray[np.float64], error: Floats) -> list[Floats]:
    """Draws around no gap and around the shrunken gap; the same array twice where both are 0."""
    if not centre.any():
        return [error, error]
    return [error, error + centre.astype(error.dtype)]


def _both(values: list[Floats]) -> Floats:
    return np.stack(values)


def _unlinked(
    rates: Rates,
    spread: npt.NDArray[np.float64],
    error: Floats,
    centre: npt.NDArray[np.float64],
    wanted: frozenset[Functional],
) -> ArmEstimate:
    gap = rates.gap
    about = _about(centre, error)
    narrow = spread.astype(error.dtype)
    value: dict[str, float] = {}
    draws: dict[str, Floats] = {}
    if "plugin" in wanted:
        value["plugin"] = float(plugin(gap))
        draws["plugin"] = _both([plugin(a) for a in about])
    if "crossfit" in wanted:
        value["crossfit"] = float(crossfit(gap, spread))
        first = crossfit(about[0], narrow)
        second = first if about[1] is about[0] else crossfit(about[1], narrow)
        draws["crossfit"] = _both([first, second])
    return ArmEstimate(rates, gap, error, centre, value, draws)


def fit_null(
    rates: Rates,
    error: Floats,
    wanted: frozenset[Functional],
    contrast: npt.NDArray[np.float64] | None = None,
) -> NullEstimate:
    """The null arm with the signs for `lin`.

    Args:
        rates: Rates of the null arm.
        error: [D, P, K] draws of the sampling error of its gaps; see `rates.noise`.
        wanted: Functionals to evaluate.
        contrast: [P, K] fixed signs from held-out images; None cross-fits them.
    """
    gap, spread = rates.gap, rates.spread
    # not the squared spread: an arm that equals this one must give the same to the last bit
    variance = rates.covariance(rates)
    arm = _unlinked(rates, spread, error, shrinkage(gap, spread) * gap, wanted)
    if "lin" not in wanted:
        return NullEstimate(arm, contrast, spread)
    if contrast is not None:
        null = NullEstimate(arm, contrast, spread)
        return replace(null, arm=_with_lin(null, arm, variance))
    narrow = spread.astype(arm.error.dtype)
    about = _about(arm.centre, arm.error)
    null = NullEstimate(
        arm,
        None,
        spread,
        certainty(arm.gap, spread),
        density(standardised(arm.gap, spread)),
        _both([certainty(a, narrow) for a in about]),
        _both([density(standardised(a, narrow)) for a in about]),
    )
    return replace(null, arm=_with_lin(null, arm, variance))


def _with_lin(
    null: NullEstimate, arm: ArmEstimate, covariance: npt.NDArray[np.float64]
) -> ArmEstimate:
    value, draws = _lin(null, arm, covariance)
    return replace(arm, value={**arm.value, "lin": value}, draws={**arm.draws, "lin": draws})


def fit_arm(
    null: NullEstimate, rates: Rates, error: Floats, wanted: frozenset[Functional]
) -> ArmEstimate:
    """An arm over the same images as the null arm; arguments as in `fit_null`.

    Its second centre is the null arm's plus the change, see `_centre_of_change`. Shrinking the arm's
    gaps as such would leave in the centres a change that is mostly noise, and signs drawn at random
    would then count that noise a second time.
    """
    spread, covariance = rates.spread, null.arm.rates.covariance(rates)
    blur = np.sqrt(np.maximum(null.spread**2 + spread**2 - 2 * covariance, 0))
    change = _centre_of_change(rates.gap - null.arm.gap, blur, error - null.arm.error)
    centre = null.arm.centre + change
    arm = _unlinked(rates, spread, error, centre, wanted)
    if "lin" not in wanted:
        return arm
    return _with_lin(null, arm, covariance)


def _centre_of_change(
    change: npt.NDArray[np.float64], spread: npt.NDArray[np.float64], error: Floats
) -> npt.NDArray[np.float64]:
    """[P, K] change of the gaps without its noise: what all objects share, and what is each one's own.

    Taken towards 0 one by one, objects that all move the same way by a little would seem not to move.

    Args:
        change: [P, K] observed.
        spread: [P, K] its standard errors.
        error: [D, P, K] draws of its sampling error.
    """
    shared = change.mean(axis=-1, keepdims=True)
    noise = error.mean(axis=-1, keepdims=True).var(axis=0)
    kept = np.maximum(1 - noise / np.where(shared == 0, 1, shared**2), 0) * shared
    own = change - kept
    return np.asarray(kept + shrinkage_in_square(own, spread) * own)


def _lin(
    null: NullEstimate, arm: ArmEstimate, covariance: npt.NDArray[np.float64]
) -> tuple[float, Floats]:
    pairs = arm.gap.shape[0]
    if null.contrast is not None:
        weight = null.contrast / pairs
        fixed = np.tensordot(arm.error, weight.astype(arm.error.dtype), axes=([1, 2], [0, 1]))
        return float((weight * arm.gap).sum()), _both([fixed, fixed])
    tilt = np.divide(
        2 * covariance, null.spread, out=np.zeros_like(null.spread), where=null.spread > 0
    )
    value = float((arm.gap * null.sign - tilt * null.tilt).sum() / pairs)
    narrow = tilt.astype(arm.error.dtype)
    drawn: list[Floats] = []
    for z, about in enumerate(_about(arm.centre, arm.error)):
        if z and not arm.centre.any() and not null.arm.centre.any():
            drawn.append(drawn[0])
            continue
        linear = np.einsum("dpk,dpk->d", about, null.sign_draws[z])
        bent = np.tensordot(null.tilt_draws[z], narrow, axes=([1, 2], [0, 1]))
        drawn.append((linear - bent) / pairs)
    return value, _both(drawn)


@dataclass(frozen=True)
class Combination:
    """A sum of arms with coefficients, such as TE = 11 - 00.

    Args:
        name: What it is called, for example "NIE".
        terms: Arm name to coefficient; the coefficients sum to 0.
    """

    name: str
    terms: Mapping[str, float]

    def value(self, arms: Mapping[str, ArmEstimate], functional: str) -> float:
        """The estimate; exactly 0 where arms cancel but for rounding."""
        parts = [c * arms[a].value[functional] for a, c in self.terms.items()]
        total = sum(parts)
        # what has no error is taken for certain, and a rounding error has none
        return total if abs(total) > _LAST_BITS * sum(map(abs, parts)) else 0.0

    def draws(self, arms: Mapping[str, ArmEstimate], functional: str) -> Floats:
        """[2, D] its draws."""
        return self._sum({a: arms[a].draws[functional] for a in self.terms})

    def bracket(
        self, arms: Mapping[str, ArmEstimate]
    ) -> tuple[tuple[float, Floats], tuple[float, Floats]]:
        """Statistics whose expectations enclose the true combination of sums of absolute gaps.

        E crossfit <= B <= E plugin holds for every arm, so arms that enter with a plus sign are
        bounded below by the cross-fit and above by the plug-in, the others the other way round.
        """
        low = {a: "crossfit" if c > 0 else "plugin" for a, c in self.terms.items()}
        high = {a: "plugin" if c > 0 else "crossfit" for a, c in self.terms.items()}
        return self._mixed(arms, low), self._mixed(arms, high)

    def _mixed(
        self, arms: Mapping[str, ArmEstimate], which: Mapping[str, str]
    ) -> tuple[float, Floats]:
        value = sum(c * arms[a].value[which[a]] for a, c in self.terms.items())
        return value, self._sum({a: arms[a].draws[which[a]] for a in self.terms})

    def _sum(self, draws: Mapping[str, Floats]) -> Floats:
        parts = [c * draws[a].astype(np.float64) for a, c in self.terms.items()]
        total, size = np.sum(parts, axis=0), np.abs(parts).sum(axis=0).max(initial=0.0)
        # draws are sums in single precision: arms that are equal have no spread between them
        return np.where(np.abs(total) > _ROUNDING * size, total, 0.0)

    def reach(self, arms: Mapping[str, ArmEstimate]) -> tuple[float, Floats] | None:
        """Sum of absolute changes of gaps, which bounds the change of B; None beyond two arms."""
        if len(self.terms) != 2:
            return None
        (a, first), (b, second) = self.terms.items()
        if {first, second} != {1.0, -1.0}:
            return None
        change = arms[a].gap - arms[b].gap
        error = arms[a].error - arms[b].error
        middle = error + (arms[a].centre - arms[b].centre).astype(error.dtype)
        return float(plugin(change)), _both([plugin(error), plugin(middle)])
