"""Every finding that the page of a cohort may print."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

_ESTIMAND = (
    "ACME: (Y11 − Y10 + Y01 − Y00) / 2, natural where the graph identifies it, else interventional"
)
_SIMULATED = "experiments/cohort_truth.py, table in experiments/results/cohort.md"

FOUND = Claim(
    "cohort-found",
    "{of_cohort}the mediator carries part of the effect of the exposure in {found} of {family} triples, if "
    "the graph is right and its codes are recorded without error (false discovery rate 5 %).",
    _ESTIMAND,
    "z-test by the delta method with sandwich errors, after Benjamini and Hochberg; positivity",
    "false discovery rate of 5 % over all estimated triples of the study",
    _SIMULATED,
)
NOTHING = Claim(
    "cohort-nothing-found",
    "{of_cohort}no indirect effect is found in {family} triples at a false discovery rate of 5 %; this does "
    "not show that there is none.",
    _ESTIMAND,
    "z-test by the delta method with sandwich errors, after Benjamini and Hochberg; positivity",
    "false discovery rate of 5 % over all estimated triples of the study",
    _SIMULATED,
)
SMALLEST_P = Claim(
    "cohort-smallest-p",
    "The smallest p is that of {triple}: {effect} {estimate} [{lo}, {hi}], adjusted for {covariates}.",
    _ESTIMAND,
    "95 % limits by the delta method",
    "none beyond that of the triples: it is the one with the smallest p, and its estimate is likely too large",
    _SIMULATED,
    exploratory=True,
)
FALLS = Claim(
    "cohort-falls",
    "Without adjustment {unadjusted} triples would be found; {fall} of them are not found with it, and {rise} "
    "are found only with it.",
    _ESTIMAND,
    "the same test with and without the adjustment set",
    "false discovery rate of 5 % in each of the two families; none for the difference of two triples",
    _SIMULATED,
    exploratory=True,
)
INTERVENTIONAL = Claim(
    "cohort-interventional",
    "In {number} triples the exposure causes what confounds mediator and outcome: their effects are "
    "interventional, not natural.",
    "which effects the graph identifies",
    "d-separation in the graph",
    "none: it follows from the graph",
    "tests/test_adjustment.py, against truncated factorisation",
)
UNIDENTIFIED = Claim(
    "cohort-unidentified",
    "In {number} triples nothing is identified; they are estimated, marked, and not counted as findings.",
    "which effects the graph identifies",
    "d-separation in the graph",
    "none: it follows from the graph",
    "tests/test_adjustment.py, against truncated factorisation",
)
CALIBRATED = Claim(
    "cohort-controls",
    "Of {controls} negative controls, {below} have p < .05 with the adjustment ({share} [{lo}, {hi}]); 5 % are "
    "expected without bias.",
    "share of outcomes that the mediator cannot cause with p < .05",
    "Clopper's and Pearson's limits",
    "95 % limits, which take controls as independent",
    _SIMULATED,
)
UNCALIBRATED = Claim(
    "cohort-controls-biased",
    "Of {controls} negative controls, {below} have p < .05 with the adjustment ({share} [{lo}, {hi}]), more "
    "than the 5 % that are expected without bias: confounding is left, or the graph lacks effects.",
    "share of outcomes that the mediator cannot cause with p < .05",
    "exact binomial test, 5 %",
    "5 %, which takes controls as independent",
    _SIMULATED,
)

CLAIMS: tuple[Claim, ...] = (
    FOUND,
    NOTHING,
    SMALLEST_P,
    FALLS,
    INTERVENTIONAL,
    UNIDENTIFIED,
    CALIBRATED,
    UNCALIBRATED,
)
"""All claims of the kind."""
