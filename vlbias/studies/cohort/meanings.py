"""What columns of the tables of a cohort mean, in one line with their unit."""

from __future__ import annotations

__all__ = ["MEANINGS"]

MEANINGS = {
    "exposure": "code of what comes first: a disease or a treatment",
    "mediator": "code of the treatment through which the effect may run",
    "outcome": "code of the disease whose risk changes",
    "ACME": "indirect effect through the mediator; a difference of risks, -1 to 1",
    "ACME_lo": "lower 95 % limit of the indirect effect",
    "ACME_hi": "upper 95 % limit of the indirect effect",
    "ACME_se": "standard error of the indirect effect",
    "ACME_p": "probability of an indirect effect like this or further from 0 if there were none; 0 to 1",
    "ACME_unadjusted": "indirect effect without any adjustment; a difference of risks",
    "p_bh": "p after correction that holds the share of false findings over all triples; 0 to 1",
    "found": "whether p, BH is at most .05, the effect is identified, and patients support every mean",
    "found_unadjusted": "the same without any adjustment",
    "TE": "total effect of the exposure; a difference of risks, -1 to 1",
    "TE_lo": "lower 95 % limit of the total effect",
    "TE_hi": "upper 95 % limit of the total effect",
    "share": "indirect as a share of the total effect, or of controls below .05; see the block's text",
    "robustness": "how strong an unmeasured confounder would have to be to explain the effect away",
    "robustness_limit": "the same for the limit that is nearest to 0",
    "effects": "natural, interventional, or unidentified",
    "n": "patients; a count",
    "n_mediator": "patients with the mediator; a count",
    "n_outcome": "patients with the outcome; a count",
    "covariates": "codes that are adjusted for",
    "positivity": "combinations that lack patients; empty if none",
    "notes": "what was done beside the plan",
    "reason": "why this set of covariates",
    "why": "why each covariate, or why the finding depends on the adjustment",
    "dropped": "covariates that are not adjusted for, and why",
    "left_out": "patients without a value, and why",
    "why_not": "why it was not estimated",
    "control": "whether it is a negative control",
    "adjustment": "graph: for what the graph says; unadjusted: for nothing",
    "controls": "negative controls with a p-value; a count",
    "below": "negative controls with p below .05; a count",
    "lo": "lower 95 % limit of the share",
    "hi": "upper 95 % limit of the share",
    "p": "probability of a share like this or further from 5 % if nothing biased them; 0 to 1",
    "step": "what was asked of a patient or code",
    "left": "how many are left after it; a count",
}
"""Column to what it is."""
