"""What columns of the tables of mitigations mean that no other table has."""

from __future__ import annotations

__all__ = ["MEANINGS"]

_SHARE = "as a share of the gaps in their direction (B_lin) that the model has without it"

MEANINGS = {
    "B": "the word on the change of B itself, after correction for all settings",
    "gaps over thresholds": "the word on B_lin beside a model as strict for every class, after correction",
    "gaps over placebo": "the word on B_lin beside the setting's placebo, after correction",
    "performance": "kept if a loss larger than the margin is excluded; lost if a loss is shown",
    "change of B": "change of B, plug-in, with 95 % limits of it alone; a sum of rates over objects",
    "over thresholds by class": "change of B_lin beyond thresholds as strict for every class; negative is less",
    "over its placebo": "change of B_lin beyond the placebo's, or the share of it; negative is less",
    "gaps over its placebo": "change of B_lin beyond the placebo's; negative is less",
    "share": f"what is taken out beyond the placebo, {_SHARE}",
    "over one threshold": "change of B_lin beyond one threshold as strict on average; for comparison only",
    "over thresholds": f"what is taken out beyond thresholds as strict for every class, {_SHARE}",
    "placebo": "what the placebo itself changes of B_lin",
    "FPR of the group with more": "rate of the group with more false positives, before and after; 0 to 1",
    "FPR of the group with fewer": "rate of the group with fewer false positives, before and after; 0 to 1",
    "change of performance": "of the metric that decides, with 95 % limits",
    "site or setting": "what differs between settings of one method",
    "bias": "the word on B itself of this strength alone, without correction",
    "name": "the setting and its strength; none is the model as it is",
    "B, cross-fit": "B without the part that noise inflates; a sum of rates over objects",
    "mean FPR": "share of photos without an object in which it is seen, mean over objects; 0 to 1",
}
"""Column to what it is; `vlbias.report.definitions` has the others."""
