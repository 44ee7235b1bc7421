"""From potential outcomes to effects on the disparity: total, direct, indirect, interaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.corrections import benjamini_hochberg, hierarchical, step_down
from vlbias.analysis.disparity_changes import FUNCTIONALS, Changes, FunctionalName, make_scales
from vlbias.analysis.inference import check_level, multipliers
from vlbias.analysis.matched_thresholds import neighbours, with_matching_error
from vlbias.analysis.mediator_effects import EFFECTS, MediatorTable, row_counts, supported
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Measure, Rates, Thresholds, Window
from vlbias.errors import MissingArms

__all__ = ["EFFECTS", "MODALITIES", "Effects", "combine", "effects"]

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
        signs: Measure to [P, K'] signs from held-out images (`support.held_out_signs`); without,
            signs are cross-fitted.
        objects: Columns with support; found on y00 if not given.
        paths: Mediator to its path, e.g. ("image_encoder", "layer 3", "head 5"), for testing down
            the tree.
        draws: Multiplier draws.
        level: Of the limits.

    Returns:
        A table with columns mediator ("" for TE over all rows), effect, functional, estimand,
        estimate, se, df (degrees of freedom of se, after Satterthwaite), lo, hi, p, p_bh (false
        discovery rate over mediators of one granularity:
        encoders, branches, or units), p_adjusted (max-T over all mediators; cuts stand apart),
        relative (to the null arm's value of the same functional, named in `denominator`; limits
        after Fieller), n, n_clusters, n_objects, cut, status. Where y10 equals y00 on every row the
        mediator cuts the graph: NIE is TE by construction, `cut` is True and no share is given. A
        mediator that no row has, or none of a group, is "insufficient" and has no numbers.

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
    rows = MediatorTable(panel, Changes(panel, scales, weights, level), first, last)
    rows.add_total()
    for name, y01, y10 in mediators:
        rows.add(name, panel.check_scores(f"{name} y01", y01), panel.check_scores(name, y10))
    table, kept = rows.frame()
    return Effects(
        _corrected(table, kept),
        _tree(table, kept, paths),
        *_null_gaps(panel, rows),
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
    matched: Mapping[str, str] | None = None,
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
        matched: Arm whose thresholds were matched class by class, to the arm that they were matched to;
            the limits then hold the error of the matching.
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
    for whole in scales:
        scale = whole.on(panel, valid)
        window = changes.window(scale, valid)
        null = changes.null(scale, changes.rates(scale, window, base, scores[base]))
        others = sorted(named - {base})
        every = {name: changes.rates(scale, window, name, scores[name]) for name in others}
        every[base] = null.arm.rates
        if scale.measure == "fpr":
            every |= _with_matching(panel, valid, scores, window, every, matched or {})
        rates = [every[name] for name in others]
        count = len(others)
        found = changes.arms([scale] * count, [null] * count, rates) if count else []
        fitted = {base: null.arm, **dict(zip(others, found, strict=True))}
        for row, drawn in changes.rows(scale, null, fitted, combinations):
            rows.append(supported(row, row_counts(panel, scale, valid)))
            kept.append(drawn)
    return _adjusted(pd.DataFrame(rows), kept, ["functional"])


def _with_matching(
    panel: Panel,
    valid: npt.NDArray[np.bool_],
    scores: Mapping[str, Floats],
    window: Window,
    rates: Mapping[str, Rates],
    matched: Mapping[str, str],
) -> dict[str, Rates]:
    """The rates of arms with matched thresholds, with the error that matching adds."""
    found = {}
    for arm, target in matched.items():
        about = neighbours(panel, scores[arm], valid, rates[arm], window)
        stricter, looser = (window.rates(scores[arm], limits) for limits in about)
        found[arm] = with_matching_error(rates[arm], rates[target], stricter, looser)
    return found


def _thresholds(
    given: Given, names: tuple[str, ...], functionals: Sequence[FunctionalName]
) -> dict[str, Thresholds | None]:
    if given is None:
        if any(f.startswith("B_") for f in functionals):
            raise MissingArms(
                "rates need thresholds: give one per target (operating_point.calibrate), or ask only for "
                "score_gap functionals"
            )
        return dict.fromkeys(names)
    if isinstance(given, Mapping):
        missing = sorted(set(names) - set(given))
        if missing:
            raise MissingArms(f"thresholds are given per arm but lack {missing}")
        return {name: given[name] for name in names}
    return dict.fromkeys(names, given)


def _corrected(table: pd.DataFrame, kept: Sequence[Floats]) -> pd.DataFrame:
    # a cut is the total effect once more, and no further hypothesis
    apart = (table["effect"] == "TE") | (table["status"] == "cut")
    return _adjusted(table, kept, ["effect", "functional"], apart=apart)


def _studentised(table: pd.DataFrame, kept: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Absolute statistics [J] and centred draws [D, J] for rows of a table."""
    drawn = np.stack([kept[i] for i in table.index], axis=1)
    spread = drawn.std(axis=0)
    drawn = np.abs((drawn - drawn.mean(axis=0)) / np.where(spread > 0, spread, np.inf))
    # draws know the errors' spread; that it was itself estimated, from few clusters badly, p knows
    size = -ndtri(table["p"].to_numpy(float) / 2)
    return np.where(size == 0, 0.0, size), drawn


def _adjusted(
    table: pd.DataFrame,
    kept: Sequence[Floats],
    family: Sequence[str],
    apart: pd.Series | None = None,
) -> pd.DataFrame:
    """Adds p_bh and p_adjusted within families; rows apart are families of one."""
    table = table.assign(p_bh=np.nan, p_adjusted=np.nan)
    tested = _tested(table) & (table["status"] != "insufficient")
    alone = tested & apart if apart is not None else tested & False
    table.loc[alone, ["p_bh", "p_adjusted"]] = table.loc[alone, ["p", "p"]].to_numpy()
    for _, part in table[tested & ~alone].groupby(list(family), sort=False):
        table.loc[part.index, "p_adjusted"] = step_down(*_studentised(part, kept))
        for _, level in part.groupby(np.array(_granularity(part)), sort=False):
            table.loc[level.index, "p_bh"] = benjamini_hochberg(level["p"])
    return table


def _tested(table: pd.DataFrame) -> pd.Series:
    """Rows with a standard error; the change of B itself has limits from two constructions and none."""
    return table["p"].notna() & table["se"].notna()


def _granularity(table: pd.DataFrame) -> list[str]:
    """Encoder, branch or unit, by the mediator's name; one for all where there is none."""
    names = table["mediator"].tolist() if "mediator" in table else [""] * len(table)
    return ["unit" if "[" in name else "branch" if "/" in name else "encoder" for name in names]


def _tree(
    table: pd.DataFrame, kept: Sequence[Floats], paths: Mapping[str, tuple[str, ...]] | None
) -> pd.DataFrame:
    parts = []
    inside = table["mediator"].isin(list(paths or {})) & (table["status"] == "ok")
    tested = table[_tested(table) & inside]
    for (functional, effect), part in tested.groupby(["functional", "effect"], sort=False):
        if effect in ("NIE", "TIE") and paths:
            tree = hierarchical([paths[m] for m in part["mediator"]], *_studentised(part, kept))
            parts.append(tree.assign(functional=str(functional), effect=str(effect)))
    columns = ["functional", "effect", "node", "depth", "leaves", "p", "p_adjusted"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def _null_gaps(
    panel: Panel, rows: MediatorTable
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    first = rows.fitted(rows.valid)[0]
    return first.null.arm.gap, tuple(panel.targets[i] for i in first.scale.objects)
