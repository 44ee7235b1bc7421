"""How the numbers of a cohort are to be read and worded."""

from __future__ import annotations

from vlbias.report.blocks import Guidance

__all__ = ["guidance"]

_SIMULATED = (
    "This cohort is simulated: names of codes mean nothing, and nothing follows for any real disease or drug. "
    "What is shown is what the method does where the truth is known.",
)
_LIMITS = (
    "Effects are causal only if the graph is right: no common cause of exposure, mediator and outcome beyond "
    "it, codes recorded without error, and no selection into the cohort. No test can show this; negative "
    "controls can only contradict it.",
    "A drug that is observed was not assigned: an indirect effect through a drug is the effect of taking it as "
    "the patients took it, and is no advice to give or to stop it.",
    "Limits are by the delta method with sandwich errors, also where the page's head names resampling; nothing "
    "is resampled here. The regressions are logistic or linear: an effect beyond their form is missed.",
    "The false discovery rate is controlled over the triples of this study. Effects picked for their small p "
    "are on average too large.",
)
_WORDING = (
    (
        "adjusted for X and Y as the graph says, D carried part of the effect of A on B in this cohort",
        "D causes B; D is harmful; D is safe",
        "The graph is an assumption, and a triple that is not found may have too few patients.",
    ),
    (
        "interventional indirect effect",
        "natural indirect effect (where there is intermediate confounding)",
        "The natural effect is not identified if the exposure causes what confounds mediator and outcome.",
    ),
)
_GLOSSARY = (
    ("ACME", "Average causal mediation effect: what the outcome's risk changes because the exposure changes "
     "the mediator; mean of TNIE and PNIE."),
    ("TE", "Total effect of the exposure on the outcome's risk."),
    ("effects", "natural: identified by the graph; interventional: identified where the exposure causes a "
     "confounder of mediator and outcome; none: not identified."),
    ("p, BH", "p-value after Benjamini and Hochberg over all estimated triples."),
    ("found", "p, BH is at most .05, the effect is identified, and every mean is supported by patients."),
    ("share", "ACME / TE, where the limits of TE exclude 0."),
    ("robustness", "E-value: how strongly an unmeasured confounder would have to go with mediator and outcome, "
     "as ratio of risks, to explain the indirect effect away; 1 is not at all. For linear regressions rho, the "
     "correlation of errors that would."),
    ("positivity", "Which combinations of exposure, mediator and covariates lack patients."),
    ("negative control", "An outcome that the mediator cannot cause."),
)  # fmt: skip


def guidance(simulated: bool) -> Guidance:
    """Limits, wording and glossary.

    Args:
        simulated: Whether the cohort is simulated.
    """
    return Guidance((*_SIMULATED, *_LIMITS) if simulated else _LIMITS, _WORDING, _GLOSSARY)
