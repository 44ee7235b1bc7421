"""What a hostile world does to the true rates: two groups, K objects, before and after.

Each function takes the number of objects and gives false-positive rates before and after, [2, K] each.
Gaps alternate in sign over objects, so that no direction of all objects is favoured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

__all__ = ["INTERVENTIONS", "Rates", "same_strictness"]

Rates = tuple[NDArray[np.float64], NDArray[np.float64]]
SHARE = 0.7
"""Of the first group, which leaves the pooled rate of each object as it is."""


def _rates(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    level: float | NDArray[np.float64] = 0.1,
    later: float | NDArray[np.float64] | None = None,
) -> Rates:
    """Rates of both groups from gaps, with these pooled rates."""
    sign = np.where(np.arange(len(before)) % 2, 1.0, -1.0)
    found = []
    for gap, pooled in ((before * sign, level), (after * sign, level if later is None else later)):
        both = np.stack([pooled + (1 - SHARE) * gap, pooled - SHARE * gap])
        found.append(np.clip(both, 0.004, 0.9))
    return found[0], found[1]


def _gaps(k: int, share: float, size: float) -> NDArray[np.float64]:
    found = np.zeros(k)
    found[: round(share * k)] = size
    return found


def nothing(k: int) -> Rates:
    """Gaps of a quarter of the objects, and no change."""
    return _rates(_gaps(k, 0.25, 0.08), _gaps(k, 0.25, 0.08))


def no_bias(k: int) -> Rates:
    """No gap anywhere, and no change."""
    return _rates(np.zeros(k), np.zeros(k))


def spread_thin(k: int) -> Rates:
    """An eighth of the objects with gaps of .10 become five eighths with .02: B stays."""
    return _rates(_gaps(k, 1 / 8, 0.10), _gaps(k, 5 / 8, 0.02))


def spread_over_all(k: int) -> Rates:
    """A quarter of the objects with gaps of .08 become all with .02: B stays."""
    return _rates(_gaps(k, 0.25, 0.08), _gaps(k, 1.0, 0.02))


def moved(k: int) -> Rates:
    """The gaps leave their objects for others: B stays."""
    return _rates(_gaps(k, 0.25, 0.08), np.roll(_gaps(k, 0.25, 0.08), k // 4))


def sign_flip(k: int) -> Rates:
    """Every gap turns round: B stays."""
    return _rates(_gaps(k, 0.25, 0.08), -_gaps(k, 0.25, 0.08))


def overshoot(k: int) -> Rates:
    """Gaps turn round and grow: B rises."""
    return _rates(_gaps(k, 0.25, 0.06), -_gaps(k, 0.25, 0.10))


def looser(k: int) -> Rates:
    """False positives double, gaps stay: B stays."""
    return _rates(_gaps(k, 0.25, 0.08), _gaps(k, 0.25, 0.08), 0.1, 0.2)


def looser_and_more(k: int) -> Rates:
    """False positives double and gaps grow by a quarter: B rises, a threshold would raise it more."""
    return _rates(_gaps(k, 0.25, 0.08), _gaps(k, 0.25, 0.10), 0.1, 0.2)


def looser_on_some(k: int) -> Rates:
    """Objects with a gap are found more often, the others less: B stays."""
    later = np.full(k, 0.08)
    later[: k // 4] = 0.16
    return _rates(_gaps(k, 0.25, 0.08), _gaps(k, 0.25, 0.08), 0.1, later)


def levelling_down(k: int) -> Rates:
    """The group with fewer false positives is brought up to the other: B falls, errors rise."""
    later = np.full(k, 0.1)
    later[: k // 4] = 0.15
    return _rates(_gaps(k, 0.25, 0.08), np.zeros(k), 0.1, later)


def one_group_worse(k: int) -> Rates:
    """All objects are found more often in one group alone: B rises."""
    before = _rates(_gaps(k, 0.25, 0.06), _gaps(k, 0.25, 0.06))[0]
    return before, before + np.array([[0.02], [0.0]])


def _halved(share: float) -> Callable[[int], Rates]:
    def world(k: int) -> Rates:
        return _rates(_gaps(k, 0.25, 0.08), (1 - share) * _gaps(k, 0.25, 0.08))

    world.__doc__ = f"Gaps lose {share:.0%}."
    return world


def stricter_to(rates: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, K] rates of normal scores after they are lowered by `shift` [K] standard deviations."""
    return np.asarray(ndtr(ndtri(rates) - shift))


def _stricter(make: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[int], Rates]:
    def world(k: int) -> Rates:
        gaps = _gaps(k, 0.25, 0.08) * np.where(np.arange(k) % 3, 1.0, 0.5)
        before = _rates(gaps, gaps)[0]
        return before, stricter_to(before, make(gaps))

    return world


def _at_random(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.4 * np.random.default_rng(11).normal(size=len(gaps))


def half_and_stricter(k: int) -> Rates:
    """Half of the gaps is removed, and gendered classes are stricter by .3 SD."""
    before, after = _halved(0.5)(k)
    return before, stricter_to(after, 0.3 * (_gaps(k, 0.25, 1.0) > 0))


def same_strictness(
    before: NDArray[np.float64], after: NDArray[np.float64], ratio: float
) -> NDArray[np.float64]:
    """[2, K] rates before at thresholds with each object's pooled rate after; by root finding."""
    share, shift = np.array([ratio, 1 - ratio]), np.zeros(before.shape[1])
    for k in range(before.shape[1]):
        wanted = float(share @ after[:, k])

        def off(s: float, k: int = k, wanted: float = wanted) -> float:
            return float(share @ ndtr(ndtri(before[:, k]) - s)) - wanted

        shift[k] = brentq(off, -5, 5)
    return stricter_to(before, shift)


INTERVENTIONS: Mapping[str, Callable[[int], Rates]] = {
    "no bias, nothing done": no_bias,
    "bias, nothing done": nothing,
    "spread thin": spread_thin,
    "spread over all": spread_over_all,
    "moved to other objects": moved,
    "sign flip": sign_flip,
    "overshoot": overshoot,
    "looser": looser,
    "looser, and B rises": looser_and_more,
    "looser on gendered classes": looser_on_some,
    "levelling down": levelling_down,
    "one group worse": one_group_worse,
    "stricter": _stricter(lambda gaps: np.full(len(gaps), 0.3)),
    "stricter on gendered classes .3": _stricter(lambda gaps: 0.3 * (gaps > 0)),
    "stricter on gendered classes .6": _stricter(lambda gaps: 0.6 * (gaps > 0)),
    "stricter in proportion": _stricter(lambda gaps: 3.75 * gaps),
    "stricter at random": _stricter(_at_random),
    "25 % removed": _halved(0.25),
    "50 % removed": _halved(0.5),
    "all removed": _halved(1.0),
    "50 % removed, stricter on gendered": half_and_stricter,
}
"""Name to rates before and after."""
