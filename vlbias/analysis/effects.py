"""From potential outcomes to effects on the disparity: total, direct, indirect, interaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arms import Arm, Base, Combination
from vlbias.analysis.changes import FUNCTIONALS, Changes, FunctionalName, Scale, make_scales
from vlbias.analysis.corrections import benjamini_hochberg, hierarchical, step_down
from vlbias.analysis.inference import check_level, multipliers
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Thresholds, Window
from vlbias.errors import BadTable, MissingArms

__all__ = ["EFFECTS", "MODALITIES", "Effects", "combine", "effects"]

EFFECTS = (
    Combination("TE", {"11": 1, "00": -1}),
    Combination("NDE", {"10": 1, "00": -1}),
    Combination("NIE", {"01": 1, "00": -1}),
    Combination("TIE", {"11": 1, "10": -1}),
    Combination("TDE", {"11": 1, "01": -1}),
    Combination("INT", {"11": 1, "10": -1, "01": -1, "00": 1}),
)
"""TE = NDE + TIE = NIE + TDE = NDE + NIE + INT, exactly, for every functional.

The first digit of an arm is the world of the input, the second that of the mediator. NIE and NDE
are the pure effects (clean run with a changed mediator: sufficiency); TIE and TDE the total ones
(changed run with a clean mediator: necessity).
"""

MODALITIES = (
    Combination("text", {"text": 1, "null": -1}),
    Combination("image", {"image": 1, "null": -1}),
    Combination("both", {"both": 1, "null": -1}),
    Combination("text x image", {"both": 1, "text": -1, "image": -1, "null": 1}),
)
"""The 2 x 2 of modalities; the last is their interaction."""


@dataclass(frozen=True, eq=False)
class Effects:
    """All effects of one contrast.

    Args:
        table: One row per mediator, effect and functional; see `effects`.
        tree: Hierarchical tests of NIE along the mediators' paths, empty if no paths were given;
            columns functional, effect, node, depth, leaves, p, p_adjusted.
        null_gaps: [P, K'] rate gaps of the null arm over the objects used.
        objects: Names of the objects used.
    """

    table: pd.DataFrame
    tree: pd.DataFrame
    null_gaps: npt.NDArray[np.float64]
    objects: tuple[str, ...]


Given = Thresholds | Mapping[str, Thresholds] | None


def effects(
    panel: Panel,
    y00: npt.ArrayLike,
    y11: npt.ArrayLike,
    mediators: Iterable[tuple[str, npt.ArrayLike, npt.ArrayLike]] = (),
    *,
    rng: np.random.Generator,
    thresholds: Given = None,
    functionals: Sequence[FunctionalName] = FUNCTIONALS,
    signs: Mapping[Measure, npt.NDArray[np.float64]] | None = None,
    objects: npt.NDArray[np.intp] | None = None,
    paths: Mapping[str, tuple[str, ...]] | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> Effects:
    """TE and, per mediator, NDE, NIE, TIE, TDE and INT of the disparity, with limits that cover.

    Mediators are streamed: one at a time is in memory. All arms of a mediator are compared on the
    same images (those without NaN in any arm), with the same draws.

    Args:
        panel: Images, groups, presence.
        y00: [S, K] presence scores of world a.
        y11: [S, K] of world b.
        mediators: (name, y01, y10): input a with the mediator from b, and input b with it from a.
        rng: Seeded generator.
        thresholds: [K], or one such array per arm ("00", "11", "01", "10") when they are calibrated
            per condition.
        functionals: Which to give; see `changes.FUNCTIONALS`.
        signs: Measure to [P, K'] signs from held-out images (`disparity.held_out_signs`); without,
            signs are cross-fitted.
        objects: Columns with support; found on y00 if not given.
        paths: Mediator to its path, e.g. ("image_encoder", "layer 3", "head 5"), for testing down
            the tree.
        draws: Multiplier draws.
        level: Of the limits.

    Returns:
        A table with columns mediator ("" for TE over all rows), effect, functional, estimand,
        estimate, se, lo, hi, p, p_bh (false discovery rate over mediators), p_adjusted (max-T over
        mediators), relative (to the null arm's value of the same functional, named in
        `denominator`; limits after Fieller), n, n_clusters, n_objects, cut, status. Where y10
        equals y00 on every row the mediator cuts the graph: NIE is TE by construction, `cut` is
        True and no share is given.

    Raises:
        BadTable: if shapes disagree or mediator names repeat.
        BadStudy: if a functional or level is unknown.
        MissingArms: if rates are wanted and there are no thresholds.
    """
    check_level(level)
    first, last = panel.check_scores("y00", y00), panel.check_scores("y11", y11)
    limits = _thresholds(thresholds, ("00", "11", "01", "10"), functionals)
    scales = make_scales(panel, first, limits, "00", functionals, objects, signs or {})
    weights = multipliers(panel.layout, draws, rng)
    sweep = _Sweep(panel, Changes(panel, scales, weights, level), first, last)
    sweep.add_total()
    for name, y01, y10 in mediators:
        sweep.add(name, panel.check_scores(f"{name} y01", y01), panel.check_scores(name, y10))
    table, kept = sweep.frame()
    return Effects(
        _corrected(table, kept),
        _tree(table, kept, paths),
        *_null_gaps(panel, sweep, scales),
    )


def combine(
    panel: Panel,
    arms: Mapping[str, npt.ArrayLike],
    combinations: Sequence[Combination],
    *,
    base: str,
    rng: np.random.Generator,
    thresholds: Given = None,
    functionals: Sequence[FunctionalName] = FUNCTIONALS,
    signs: Mapping[Measure, npt.NDArray[np.float64]] | None = None,
    objects: npt.NDArray[np.intp] | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Any sums of arms: differences of mitigations, effect minus placebo effect, modalities 2 x 2.

    Args:
        panel: Images, groups, presence.
        arms: Name to [S, K] scores, all conditions that the combinations speak of.
        combinations: What to add up, for example `MODALITIES` or
            `Combination("mask - placebo", {"mask": 1, "placebo": -1})`.
        base: The arm that gives support, signs and the denominator of relative effects.
        rng: Seeded generator.
        thresholds: [K], or one such array per arm.
        functionals: As in `effects`, as are the remaining arguments.
        signs: Held-out signs.
        objects: Columns with support.
        draws: Multiplier draws.
        level: Of the limits.

    Returns:
        The columns of `effects` without mediator and cut; p_adjusted is over the combinations.

    Raises:
        MissingArms: if a combination names an arm that is not given.
    """
    check_level(level)
    named = {name for c in combinations for name in c.terms} | {base}
    if named - set(arms):
        raise MissingArms(f"arms {sorted(named - set(arms))} are not given; got {sorted(arms)}")
    scores = {name: panel.check_scores(name, arms[name]) for name in named}
    valid = np.all([~np.isnan(s) for s in scores.values()], axis=0)
    limits = _thresholds(thresholds, tuple(named), functionals)
    scales = make_scales(panel, scores[base], limits, base, functionals, objects, signs or {})
    changes = Changes(panel, scales, multipliers(panel.layout, draws, rng), level)
    rows, kept = [], []
    for scale in scales:
        window = changes.window(scale, valid)
        null = changes.base(scale, window, base, scores[base])
        fitted = {
            name: null.arm if name == base else changes.arm(scale, window, null, name, y)
            for name, y in scores.items()
        }
        for row, drawn in changes.rows(scale, null, fitted, combinations):
            rows.append(row | _counts(panel, scale, valid))
            kept.append(drawn)
    return _adjusted(pd.DataFrame(rows), kept, ["functional"])


def _thresholds(
    given: Given, names: tuple[str, ...], functionals: Sequence[FunctionalName]
) -> dict[str, Thresholds | None]:
    if given is None:
        if any(f.startswith("B_") for f in functionals):
            raise MissingArms(
                "rates need thresholds: give one per target (operating.calibrate), or ask only for "
                "score_gap functionals"
            )
        return dict.fromkeys(names)
    if isinstance(given, Mapping):
        missing = sorted(set(names) - set(given))
        if missing:
            raise MissingArms(f"thresholds are given per arm but lack {missing}")
        return {name: given[name] for name in names}
    return dict.fromkeys(names, given)


def _counts(panel: Panel, scale: Scale, valid: npt.NDArray[np.bool_]) -> dict[str, Any]:
    seen = valid.any(axis=1)
    return {
        "n": int(seen.sum()),
        "n_clusters": int(np.count_nonzero(np.bincount(panel.cluster_code[seen]))),
        "n_objects": len(scale.objects),
        "status": "ok" if len(scale.objects) else "insufficient",
    }


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The arms that all mediators share, for one scale and one set of rows."""

    scale: Scale
    window: Window
    base: Base
    last: Arm
    counts: Mapping[str, Any]


class _Sweep:
    """Collects rows mediator by mediator; fits the null and total arms once per set of rows."""

    def __init__(self, panel: Panel, changes: Changes, y00: Floats, y11: Floats) -> None:
        self.panel, self.changes, self.y00, self.y11 = panel, changes, y00, y11
        self.valid = ~(np.isnan(y00) | np.isnan(y11))
        self.rows: list[dict[str, Any]] = []
        self.kept: list[Floats] = []
        self.names: set[str] = set()
        self._fitted: list[_Fitted] = []
        self._fitted_on: npt.NDArray[np.bool_] | None = None

    def fitted(self, valid: npt.NDArray[np.bool_]) -> list[_Fitted]:
        """The null and total arms over the valid entries, one per scale."""
        if self._fitted_on is None or not np.array_equal(valid, self._fitted_on):
            self._fitted, self._fitted_on = [], valid
            for scale in self.changes.scales:
                window = self.changes.window(scale, valid)
                base = self.changes.base(scale, window, "00", self.y00)
                last = self.changes.arm(scale, window, base, "11", self.y11)
                counts = _counts(self.panel, scale, valid)
                self._fitted.append(_Fitted(scale, window, base, last, counts))
        return self._fitted

    def add_total(self) -> None:
        """TE over all rows that both worlds have."""
        for one in self.fitted(self.valid):
            arms = {"00": one.base.arm, "11": one.last}
            self._collect("", one, arms, EFFECTS[:1], is_cut=False)

    def add(self, name: str, y01: Floats, y10: Floats) -> None:
        """All effects of one mediator, over the rows that all four arms have."""
        if name in self.names or not name:
            raise BadTable(f"mediator name {name!r} is empty or repeats")
        self.names.add(name)
        valid = self.valid
        missing = np.isnan(y01) | np.isnan(y10)
        if missing.any():
            valid = valid & ~missing
        is_cut = bool(((y10 == self.y00) | ~valid).all())
        for one in self.fitted(valid):
            arms = {"00": one.base.arm, "11": one.last}
            for arm, scores in (("01", y01), ("10", y10)):
                arms[arm] = self.changes.arm(one.scale, one.window, one.base, arm, scores)
            self._collect(name, one, arms, EFFECTS, is_cut=is_cut)

    def _collect(
        self,
        name: str,
        one: _Fitted,
        arms: Mapping[str, Arm],
        combinations: Sequence[Combination],
        *,
        is_cut: bool,
    ) -> None:
        for row, drawn in self.changes.rows(one.scale, one.base, arms, combinations):
            full = {"mediator": name, **row, **one.counts, "cut": is_cut}
            if is_cut:
                full |= dict.fromkeys(("relative", "relative_lo", "relative_hi"), np.nan)
                full["status"] = "cut"
            self.rows.append(full)
            self.kept.append(drawn)

    def frame(self) -> tuple[pd.DataFrame, list[Floats]]:
        """All rows and their draws."""
        return pd.DataFrame(self.rows), self.kept


def _corrected(table: pd.DataFrame, kept: Sequence[Floats]) -> pd.DataFrame:
    return _adjusted(table, kept, ["effect", "functional"], apart=table["effect"] == "TE")


def _studentised(table: pd.DataFrame, kept: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Absolute statistics [J] and centred draws [D, J] for rows of a table."""
    se = table["se"].to_numpy(float)
    safe = np.where(se > 0, se, np.inf)
    drawn = np.stack([kept[i] for i in table.index], axis=1)
    drawn = np.abs((drawn - drawn.mean(axis=0)) / safe)
    return np.abs(table["estimate"].to_numpy(float) / safe), drawn


def _adjusted(
    table: pd.DataFrame,
    kept: Sequence[Floats],
    family: Sequence[str],
    apart: pd.Series | None = None,
) -> pd.DataFrame:
    """Adds p_bh and p_adjusted within families; rows apart are families of one."""
    table = table.assign(p_bh=np.nan, p_adjusted=np.nan)
    tested = table["p"].notna() & (table["status"] != "insufficient")
    alone = tested & apart if apart is not None else tested & False
    table.loc[alone, ["p_bh", "p_adjusted"]] = table.loc[alone, ["p", "p"]].to_numpy()
    for _, part in table[tested & ~alone].groupby(list(family), sort=False):
        table.loc[part.index, "p_bh"] = benjamini_hochberg(part["p"])
        table.loc[part.index, "p_adjusted"] = step_down(*_studentised(part, kept))
    return table


def _tree(
    table: pd.DataFrame, kept: Sequence[Floats], paths: Mapping[str, tuple[str, ...]] | None
) -> pd.DataFrame:
    parts = []
    tested = table[table["p"].notna() & table["mediator"].isin(list(paths or {}))]
    for (functional, effect), part in tested.groupby(["functional", "effect"], sort=False):
        if effect in ("NIE", "TIE") and paths:
            tree = hierarchical([paths[m] for m in part["mediator"]], *_studentised(part, kept))
            parts.append(tree.assign(functional=str(functional), effect=str(effect)))
    columns = ["functional", "effect", "node", "depth", "leaves", "p", "p_adjusted"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def _null_gaps(
    panel: Panel, sweep: _Sweep, scales: Sequence[Scale]
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    return sweep.fitted(sweep.valid)[0].base.arm.gap, tuple(
        panel.targets[i] for i in scales[0].objects
    )
