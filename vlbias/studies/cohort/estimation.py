"""One question answered: effects adjusted by the graph, the same without adjustment, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.covariate_patterns import collapse
from vlbias.analysis.gformula import FourMeans, family_of, g_formula, redrawn_means
from vlbias.analysis.glm import fit
from vlbias.analysis.natural_effects import EFFECTS, effects_frame, share_mediated
from vlbias.analysis.unmeasured_confounding import sensitivity
from vlbias.data.adjustment import AdjustmentSet
from vlbias.data.cohort import ObservationMap
from vlbias.data.cohort_rows import TimeRule, TripleRows, triple_rows
from vlbias.errors import BadData, BadTable
from vlbias.studies.cohort.questions import Question
from vlbias.studies.cohort.study import Estimator

__all__ = ["GRAPH", "NONE", "answer", "overlap", "positivity"]

GRAPH, NONE = "graph", "unadjusted"
"""Adjusted by the graph, and not adjusted."""
_LEAST_OVERLAP = 0.95
_MOST_CANDIDATES = 10
Columns = Mapping[str, NDArray[np.float64]]


def answer(
    seen: ObservationMap,
    question: Question,
    settings: Estimator,
    time: TimeRule | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Two rows: adjusted by the graph, and not adjusted; one with a status, if nothing can be estimated.

    Args:
        seen: The cohort under its graph.
        question: What is asked.
        settings: How effects are estimated.
        time: How time orders events.
        seed: Of draws.
    """
    chosen = question.adjustment
    about = _about(question)
    try:
        found = triple_rows(seen, question.triple, chosen.covariates, chosen.intermediate, time)
        about |= _counted(found, chosen)
        clusters = seen.cohort.clusters
        cluster = (
            None if clusters is None else np.unique(clusters[found.rows], return_inverse=True)[1]
        )
        kept = {"interaction": _INTERACTION[settings.interaction], "cluster": cluster}
        adjusted = _means(found.columns, chosen, chosen.covariates, kept)
        share = overlap(found.columns, chosen)
        least = settings.min_patients
        about |= {"overlap": share, "positivity": positivity(found.columns, chosen, least, share)}
    except (BadData, BadTable) as error:
        return [{**about, "adjustment": GRAPH, "status": str(error)}]
    row = {**about, "adjustment": GRAPH, "status": "ok", **_numbers(adjusted)}
    row |= _robustness(adjusted, chosen, row["ACME_p"], settings.draws, seed)
    plain = _means(found.columns, AdjustmentSet(chosen.triple), (), kept)
    other = {**about, "adjustment": NONE, "status": "ok", **_numbers(plain)}
    row["confounder"] = _confounder(found.columns, chosen, row, other, kept)
    return [row, other]


_INTERACTION = {"auto": None, "always": True, "never": False}


def _means(
    columns: Columns, chosen: AdjustmentSet, covariates: Sequence[str], kept: Mapping[str, Any]
) -> FourMeans:
    """The four means of a triple, adjusted for these covariates; constant ones are left out."""
    varying = [code for code in covariates if columns[code].min() < columns[code].max()]
    between = [code for code in chosen.intermediate if columns[code].min() < columns[code].max()]
    return g_formula(
        columns,
        chosen.triple.exposure,
        [*between, chosen.triple.mediator],
        chosen.triple.outcome,
        varying,
        direct=between,
        **kept,
    )


def _about(question: Question) -> dict[str, Any]:
    chosen = question.adjustment
    kind = (
        "natural"
        if chosen.identified
        else "interventional"
        if chosen.intermediate
        else "unidentified"
    )
    return {
        "exposure": chosen.triple.exposure,
        "mediator": chosen.triple.mediator,
        "outcome": chosen.triple.outcome,
        "control": question.control,
        "effects": kind,
        "identified": chosen.identified,
        "reason": chosen.reason,
        "covariates": "; ".join(chosen.covariates),
        "why": "; ".join(f"{code}: {why}" for code, why in chosen.reasons.items()),
        "dropped": "; ".join(f"{code}: {why}" for code, why in chosen.dropped.items()),
        "intermediate": "; ".join(chosen.intermediate),
    }


def _counted(found: TripleRows, chosen: AdjustmentSet) -> dict[str, Any]:
    columns, triple = found.columns, chosen.triple
    constant = [code for code in chosen.covariates if columns[code].min() == columns[code].max()]
    left_out = dict(found.left_out)
    return {
        "n": len(found.rows),
        "n_exposure": int((columns[triple.exposure] != 0).sum()),
        "n_mediator": int((columns[triple.mediator] != 0).sum()),
        "n_outcome": int((columns[triple.outcome] != 0).sum()),
        "n_left_out": sum(left_out.values()),
        "left_out": "; ".join(f"{why}: {count}" for why, count in left_out.items()),
        "constant": "; ".join(constant),
    }


def _numbers(four: FourMeans) -> dict[str, Any]:
    """Means, effects with limits, and the share, flat."""
    row: dict[str, Any] = {
        f"Y{arm}": float(mean)
        for arm, mean in zip(("00", "01", "10", "11"), four.means, strict=True)
    }
    for one in effects_frame(four).to_dict("records"):
        name = str(one["effect"])
        row |= {name: one["estimate"]}
        row |= {f"{name}_{part}": one[part] for part in ("se", "lo", "hi", "p")}
    share = share_mediated(four)
    row |= {"share": share.estimate, "share_lo": share.lo, "share_hi": share.hi}
    return row | {"interaction": four.interaction, "notes": "; ".join(four.notes)}


def _robustness(
    four: FourMeans, chosen: AdjustmentSet, p: float, draws: int, seed: int
) -> dict[str, Any]:
    """Sensitivity to unmeasured confounding, and the check by draws, where p < .05."""
    if not p < 0.05:
        return {}
    found = sensitivity(four)
    row = {
        "sensitivity": found.measure,
        "robustness": found.estimate,
        "robustness_limit": found.limit,
    }
    if draws:
        names = [one for one in four.patterns.columns if one in chosen.covariates]
        drawn = redrawn_means(four, names, draws, seed) @ np.array(EFFECTS["ACME"])
        lo, hi = np.quantile(drawn, (0.025, 0.975))
        row |= {"ACME_lo_draws": float(lo), "ACME_hi_draws": float(hi)}
    return row


def overlap(columns: Columns, chosen: AdjustmentSet) -> float:
    """Share of patients whose chance of exposure, by their covariates, occurs with and without it."""
    exposure = columns[chosen.triple.exposure]
    varying = [code for code in chosen.covariates if columns[code].min() < columns[code].max()]
    if family_of(exposure) != "binary" or not varying:
        return 1.0
    names = [chosen.triple.exposure, *varying]
    patterns = collapse({name: columns[name] for name in names})
    equation = fit(names[0], "binary", [(), *((code,) for code in varying)], patterns).equation
    chance = equation.predictor(patterns.columns, len(patterns))
    exposed = patterns.columns[names[0]] == 1
    lo = max(chance[exposed].min(), chance[~exposed].min())
    hi = min(chance[exposed].max(), chance[~exposed].max())
    inside = (chance >= lo - 1e-12) & (chance <= hi + 1e-12)
    return float(patterns.weight[inside].sum() / patterns.n)


def positivity(columns: Columns, chosen: AdjustmentSet, least: int, share: float) -> str:
    """Why the data cannot tell some of the four means; empty if they can.

    Args:
        columns: Of the triple.
        chosen: What it is adjusted for.
        least: At least so many patients have each combination of exposure and mediator.
        share: From `overlap`.
    """
    exposure, mediator = columns[chosen.triple.exposure], columns[chosen.triple.mediator]
    said = []
    if family_of(exposure) == family_of(mediator) == "binary":
        for a, who in ((1, "with"), (0, "without")):
            for m, what in ((1, "with"), (0, "without")):
                count = int(((exposure == a) & (mediator == m)).sum())
                if count < least:
                    said.append(f"{count} patients {who} the exposure and {what} the mediator")
    if share < _LEAST_OVERLAP:
        said.append(
            f"only {share:.0%} of patients have covariates that occur with and without exposure"
        )
    return "; ".join(said)


def _confounder(
    columns: Columns,
    chosen: AdjustmentSet,
    row: Mapping[str, Any],
    other: Mapping[str, Any],
    kept: Mapping[str, Any],
) -> str:
    """The covariate that alone brings the unadjusted effect nearest to the adjusted one, where they differ."""
    if abs(row["ACME"] - other["ACME"]) <= 2 * row["ACME_se"]:
        return ""
    candidates = [code for code, why in chosen.reasons.items() if " and " in why][:_MOST_CANDIDATES]
    best, nearest = "", abs(row["ACME"] - other["ACME"])
    for code in candidates:
        four = _means(columns, AdjustmentSet(chosen.triple), (code,), kept)
        gap = abs(float(np.array(EFFECTS["ACME"]) @ four.means) - row["ACME"])
        if gap < nearest:
            best, nearest = code, gap
    return best
