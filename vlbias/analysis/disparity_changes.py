"""Changes of the disparity between arms: estimates, limits and shares, one table row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from vlbias.analysis.arm_estimates import (
    ArmEstimate,
    Combination,
    Functional,
    NullEstimate,
    fit_arm,
    fit_null,
)
from vlbias.analysis.inference import bounded, bounded_p, fieller, interval
from vlbias.analysis.object_support import support
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Rates, Thresholds, Window, noise
from vlbias.errors import BadStudy

__all__ = ["ESTIMANDS", "FUNCTIONALS", "Changes", "FunctionalName", "Scale", "make_scales"]

FunctionalName = Literal["B_plugin", "B_crossfit", "B_lin", "score_gap_crossfit", "score_gap_lin"]

FUNCTIONALS: tuple[FunctionalName, ...] = ("B_plugin", "B_crossfit", "B_lin", "score_gap_lin")
"""Default functionals, with the estimand of each in the column `estimand`.

B_plugin: change of the sum of absolute rate gaps; the limits are for the change of B itself.
B_crossfit: change of the cross-fit sum, for which gaps of unsure sign count less.
B_lin: change of the rate gaps in the direction of the null arm's gaps; linear, for attribution.
score_gap_crossfit, score_gap_lin: the same on mean scores, free of thresholds.
"""

_DECIDING_SHARE = 0.8

_MEASURES: tuple[tuple[Measure, str], ...] = (("fpr", "B"), ("score", "score_gap"))

ESTIMANDS: Mapping[str, str] = {
    "B_plugin": "change of B",
    "B_crossfit": "change of the cross-fit functional",
    "B_lin": "change in the direction of the null gaps",
    "score_gap_crossfit": "change of the cross-fit functional of scores",
    "score_gap_lin": "change of score gaps in the direction of the null gaps",
}


@dataclass(frozen=True, eq=False)
class Scale:
    """Rates or scores: what is measured, and which functionals of it are wanted."""

    measure: Measure
    prefix: str
    wanted: frozenset[Functional]
    thresholds: Mapping[str, Thresholds | None]
    objects: npt.NDArray[np.intp]
    signs: npt.NDArray[np.float64] | None
    names: frozenset[str]

    def on(self, panel: Panel, valid: npt.NDArray[np.bool_]) -> Scale:
        """The same without objects that a group lacks on the entries compared: they have no gap there."""
        count = Window.of(panel, self.measure, valid, self.objects).count
        there = (count > 0).all(axis=0)
        if there.all():
            return self
        signs = None if self.signs is None else self.signs[:, there]
        return replace(self, objects=self.objects[there], signs=signs)


class Changes:
    """Fits arms over given rows and turns combinations into table rows."""

    def __init__(
        self, panel: Panel, scales: Sequence[Scale], weights: Floats, level: float
    ) -> None:
        self.panel, self.scales, self.weights, self.level = panel, scales, weights, level

    def window(self, scale: Scale, valid: npt.NDArray[np.bool_]) -> Window:
        """The entries compared: valid in every arm."""
        return Window.of(self.panel, scale.measure, valid, scale.objects)

    def rates(self, scale: Scale, window: Window, name: str, scores: Floats) -> Rates:
        """Rates of one arm over the entries of a window."""
        return window.rates(scores, scale.thresholds[name])

    def null(self, scale: Scale, rates: Rates) -> NullEstimate:
        """The null arm."""
        (error,) = noise([rates], self.weights)
        return fit_null(rates, error, scale.wanted, scale.signs)

    def arms(
        self, scales: Sequence[Scale], nulls: Sequence[NullEstimate], many: Sequence[Rates]
    ) -> list[ArmEstimate]:
        """Other arms, each with its scale and the null arm over the same entries.

        An arm that counts every image as the null arm does, or as an earlier one, is that arm: a
        product of matrices rounds the same columns otherwise in other company, and what differs by
        construction in nothing must differ by exactly 0.
        """
        found: dict[int, ArmEstimate] = {}
        twins: dict[int, int] = {}
        for i, (null, rates) in enumerate(zip(nulls, many, strict=True)):
            if rates.equals(null.arm.rates):
                found[i] = null.arm
                continue
            earlier = (j for j in twins if nulls[j] is null and many[j].equals(rates))
            twins[i] = next(earlier, i)
        fresh = [i for i, j in twins.items() if i == j]
        errors = noise([many[i] for i in fresh], self.weights) if fresh else []
        for i, error in zip(fresh, errors, strict=True):
            found[i] = fit_arm(nulls[i], many[i], error, scales[i].wanted)
        return [found[twins.get(i, i)] for i in range(len(many))]

    def rows(
        self,
        scale: Scale,
        null: NullEstimate,
        arms: Mapping[str, ArmEstimate],
        combinations: Iterable[Combination],
    ) -> Iterator[tuple[dict[str, Any], Floats]]:
        """Table rows with the draws that adjusted p-values need."""
        for combination in combinations:
            for kind in get_args(Functional):
                name = f"{scale.prefix}_{kind}"
                if name in scale.names:
                    yield self._row(null, arms, combination, name, kind)

    def _row(
        self,
        null: NullEstimate,
        arms: Mapping[str, ArmEstimate],
        combination: Combination,
        name: str,
        kind: str,
    ) -> tuple[dict[str, Any], Floats]:
        estimate = combination.value(arms, kind)
        draws = combination.draws(arms, kind)
        found = interval(estimate, draws, self.level, df=null.df)
        bottom = null.arm.value[kind]
        row: dict[str, Any] = {
            "effect": combination.name,
            "functional": name,
            "estimand": ESTIMANDS[name],
            "estimate": estimate,
            "se": found.se,
            "df": null.df,
            "lo": found.lo,
            "hi": found.hi,
            "p": found.p,
            "relative": estimate / bottom if bottom else np.nan,
            "relative_lo": np.nan,
            "relative_hi": np.nan,
            "denominator": f"{name} of the null arm",
        }
        if kind == "plugin":
            row["lo"], row["hi"], row["p"] = self._limits_of_change(null, arms, combination)
            row["se"] = np.nan
        else:
            row["relative_lo"], row["relative_hi"] = self._ratio(estimate, draws, null, kind)
        return row, draws[int(np.argmax(draws.std(axis=1)))]

    def _ratio(
        self, estimate: float, draws: Floats, null: NullEstimate, kind: str
    ) -> tuple[float, float]:
        below = null.arm.draws[kind]
        z = int(np.argmax(draws.std(axis=1)))
        covariance = np.cov(np.stack([draws[z], below[z]]), dtype=np.float64)
        return fieller(estimate, null.arm.value[kind], covariance, self.level, df=null.df)

    def _limits_of_change(
        self, null: NullEstimate, arms: Mapping[str, ArmEstimate], combination: Combination
    ) -> tuple[float, float, float]:
        """Limits and p for the change of B: two valid constructions, which share the error, cut.

        The sum of absolute changes bounds the change on both sides of 0 and can never exclude 0. It gets
        a fifth of the error, since all decisions are the other's.
        """
        reach, bracket = combination.reach(arms), combination.bracket(arms)
        error, df = 1 - self.level, null.df
        share = 1.0 if reach is None else _DECIDING_SHARE
        lo, hi = bounded(*bracket, 1 - share * error, df=df)
        if reach is not None:
            limit = interval(*reach, 1 - (1 - share) * error, side="upper", df=df).hi
            lo, hi = max(lo, -limit), min(hi, limit)
        return lo, hi, min(1.0, bounded_p(*bracket, df=df) / share)


def make_scales(
    panel: Panel,
    y00: Floats,
    thresholds: Mapping[str, Thresholds | None],
    base: str,
    functionals: Sequence[FunctionalName],
    objects: npt.NDArray[np.intp] | None,
    signs: Mapping[Measure, npt.NDArray[np.float64]],
) -> list[Scale]:
    """What to measure for the functionals asked for.

    Raises:
        BadStudy: if a functional is unknown.
    """
    unknown = sorted(set(functionals) - set(get_args(FunctionalName)))
    if unknown:
        raise BadStudy("functionals", unknown, f"some of {get_args(FunctionalName)}")
    scales = []
    for measure, prefix in _MEASURES:
        kinds: set[Functional] = {k for k in get_args(Functional) if f"{prefix}_{k}" in functionals}
        if not kinds:
            continue
        if "plugin" in kinds:
            kinds.add("crossfit")  # the limits for B need both
        used = objects
        if used is None:
            used = support(panel, y00, thresholds[base], measure=measure)
        names = frozenset(map(str, functionals))
        fixed = signs.get(measure)
        scales.append(Scale(measure, prefix, frozenset(kinds), thresholds, used, fixed, names))
    return scales
