"""B in context: without what all objects share, and among photos that show the same other objects.

B is an association. Two plain reasons can make it up, neither of which is a model that ties an object to a
group. A prompt or a photo style can raise all scores of one group by a constant: B without the common offset
takes the mean gap out of every gap. Photos of the groups can show different things, and a model that errs by
what lies beside an object knows no group: B adjusted for co-occurring objects weights the photos so that both
groups show every other object equally often.

The weights are overlap weights (Li, Morgan & Zaslavsky, JASA 2018): one minus the probability of the own group
given the objects that are present, by logistic regression. They balance the means of all objects exactly, and
never grow without bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.bounds_of_b import bounds_of_b, gap_errors
from vlbias.analysis.functionals import plugin
from vlbias.analysis.inference import interval, multipliers
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Rates, Thresholds, measure_rates

__all__ = ["context", "overlap_weights", "weighted_rates", "without_offset"]

_LEAST = 5
_ROUNDING = 1e-6
"""Photos that must show an object, in each group, for it to be balanced."""


@dataclass(frozen=True)
class _Version:
    what: str
    rates: Rates


def context(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds,
    *,
    objects: npt.NDArray[np.intp],
    rng: np.random.Generator,
    draws: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """B as it is, without the common offset, and adjusted for co-occurring objects; and the offset.

    Args:
        panel: Images, groups, presence.
        scores: [S, K].
        thresholds: [K].
        objects: Columns with support.
        rng: Seeded generator.
        draws: Multiplier draws.
        level: Of the limits.

    Returns:
        Columns what, B_plugin, B_crossfit, B_lo, B_hi (limits of B of that version), offset, offset_lo,
        offset_hi (mean gap over objects, first group minus second) and photos (effective number). The
        versions "adjusted" need two groups. Weights are taken as known.
    """
    weights = multipliers(panel.layout, draws, rng)
    found = [
        _row(version, weights, level) for version in _versions(panel, scores, thresholds, objects)
    ]
    return pd.DataFrame(found)


def _versions(
    panel: Panel, scores: Floats, thresholds: Thresholds, objects: npt.NDArray[np.intp]
) -> Iterator[_Version]:
    plain = measure_rates(panel, scores, "fpr", thresholds, objects=objects)
    yield _Version("as it is", plain)
    yield _Version("without the common offset", without_offset(plain))
    if len(panel.groups) == 2:
        adjusted = weighted_rates(panel, scores, thresholds, objects, overlap_weights(panel))
        yield _Version("adjusted for co-occurring objects", adjusted)
        both = without_offset(adjusted)
        yield _Version("adjusted, without the common offset", both)


def _row(version: _Version, weights: Floats, level: float) -> dict[str, object]:
    rates = version.rates
    error = gap_errors(rates, weights)
    bounds = bounds_of_b(rates, error)
    lo, hi = bounds.limits(level)
    offset = rates.gap.mean(axis=1)
    drawn = error.mean(axis=2)
    about = interval(float(offset[0]), drawn[None, :, 0], level, df=bounds.df)
    return {
        "what": version.what,
        "B_plugin": float(plugin(rates.gap)),
        "B_crossfit": bounds.crossfit[0],
        "B_lo": lo,
        "B_hi": hi,
        "offset": _plain(about.estimate),
        "offset_lo": _plain(about.lo),
        "offset_hi": _plain(about.hi),
        "photos": round(float(rates.count.sum(axis=0).mean())),
    }


def _plain(value: float) -> float:
    """0 for what single-precision draws leave of it."""
    return 0.0 if abs(value) < _ROUNDING else value


def without_offset(rates: Rates) -> Rates:
    """Rates less each group's mean rate over objects: the gaps lose what all of them share."""
    return replace(
        rates,
        value=rates.value - rates.value.mean(axis=1, keepdims=True),
        residual=rates.residual - rates.residual.mean(axis=1, keepdims=True),
    )


def overlap_weights(panel: Panel) -> npt.NDArray[np.float64]:
    """[S] probability of the other of two groups, given the objects present.

    Objects that fewer than five photos of a group show are not balanced.
    """
    from sklearn.linear_model import LogisticRegression

    code = panel.code
    shown = np.stack([panel.present[code == g].sum(axis=0) for g in (0, 1)])
    used = (shown >= _LEAST).all(axis=0)
    if not used.any():
        return np.full(len(panel), 0.5)
    # without a penalty the weighted means of all objects are equal, which is the point of the weights
    model = LogisticRegression(C=np.inf, max_iter=5000, tol=1e-8).fit(
        panel.present[:, used].astype(float), code
    )
    own = model.predict_proba(panel.present[:, used].astype(float))
    return np.asarray(1 - own[np.arange(len(panel)), code])


def weighted_rates(
    panel: Panel,
    scores: Floats,
    thresholds: Thresholds,
    objects: npt.NDArray[np.intp],
    weight: npt.NDArray[np.float64],
) -> Rates:
    """False-positive rates of weighted photos; counts are effective numbers (Kish 1965).

    Args:
        panel: Images, groups, presence.
        scores: [S, K].
        thresholds: [K].
        objects: Columns used.
        weight: [S].
    """
    layout = panel.layout
    seen = scores.take(layout.order, axis=0)[:, objects]
    use = ~panel.present.take(layout.order, axis=0)[:, objects] & ~np.isnan(seen)
    mass = weight[layout.order][:, None] * use
    hit = mass * (seen >= thresholds[objects])
    cells, hits = layout.cells(mass), layout.cells(hit)
    shape = (len(layout.spans), len(objects))
    value, count, clusters = (np.zeros(shape) for _ in range(3))
    residual = np.zeros_like(cells)
    for g, span in enumerate(layout.spans):
        total = np.maximum(cells[span].sum(axis=0), np.finfo(float).tiny)
        value[g] = hits[span].sum(axis=0) / total
        square = np.maximum((cells[span] ** 2).sum(axis=0), np.finfo(float).tiny)
        clusters[g] = np.maximum(total**2 / square, 2)
        # as for plain rates: residuals of as many clusters have one degree of freedom fewer
        scale = np.sqrt(clusters[g] / (clusters[g] - 1)) / total
        residual[span] = (hits[span] - value[g] * cells[span]) * scale
        count[g] = clusters[g]
    return Rates(value, count, residual, layout, clusters)
